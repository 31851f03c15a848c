package kcptransport

// rateFilter keeps the greatest rate of the last bbrRounds rounds.
type rateFilter struct {
	best [3]rateSample // descending in rate, ascending in round
}

type rateSample struct {
	rate  float64
	round int
}

func (f *rateFilter) max() float64 { return f.best[0].rate }

// add notes a sample, as the windowed maximum of Kathleen Nichols does.
func (f *rateFilter) add(round int, rate float64) {
	s := rateSample{rate, round}
	if rate >= f.best[0].rate || round-f.best[2].round > bbrRounds {
		f.best = [3]rateSample{s, s, s}
		return
	}
	if rate >= f.best[1].rate {
		f.best[1], f.best[2] = s, s
	} else if rate >= f.best[2].rate {
		f.best[2] = s
	}
	switch age := round - f.best[0].round; {
	case age > bbrRounds:
		f.best[0], f.best[1], f.best[2] = f.best[1], f.best[2], s
		if round-f.best[0].round > bbrRounds {
			f.best[0], f.best[1] = f.best[1], f.best[2]
		}
	case f.best[1].round == f.best[0].round && age > bbrRounds/4:
		f.best[1], f.best[2] = s, s
	case f.best[2].round == f.best[1].round && age > bbrRounds/2:
		f.best[2] = s
	}
}

func (f *rateFilter) scale(by float64) {
	for i := range f.best {
		f.best[i].rate *= by
	}
}

// set forgets all rates but one.
func (f *rateFilter) set(round int, rate float64) {
	s := rateSample{rate, round}
	f.best = [3]rateSample{s, s, s}
}
