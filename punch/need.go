package punch

// Need is what a direct path between two NATs takes beyond what this package does. It is a belief, as [NAT] is, and
// forbids nothing.
type Need string

// What may be needed.
const (
	NeedsNothing    Need = ""
	NeedsPrediction Need = "needs prediction" // of the port that a NAT gives to its next mapping
	NeedsRelay      Need = "needs relay"      // no port can be predicted
)

// maxPredictable is the largest block of ports worth searching.
const maxPredictable = 1024

// need tells what two NATs take, by what is believed of them. With one whose port moves with the destination (RFC 4787
// section 4.1), the other has to let in who comes from an unknown port (section 5), or that port is to be predicted.
func need(a, b NAT) Need {
	switch {
	case a.moves() && b.moves():
		if a.predictable() || b.predictable() {
			return NeedsPrediction
		}
		return NeedsRelay
	case a.moves() && !b.admits(), b.moves() && !a.admits():
		return NeedsPrediction
	}
	return NeedsNothing
}

// admits reports whether the NAT lets in packets from another port than was sent to.
func (n NAT) admits() bool {
	return n.Mapping.Is == NoTranslation && n.Filtering.Is == 0 ||
		n.Filtering.Is != 0 && n.Filtering.Is <= AddressDependent && n.Filtering.Confidence >= 0.5
}

// predictable reports whether the port of a NAT's next mapping is one of few.
func (n NAT) predictable() bool {
	block := int(n.Block.Is.Last) - int(n.Block.Is.First) + 1
	return n.Step.Is != 0 && n.Step.Confidence >= 0.5 ||
		n.Block.Confidence >= 0.5 && n.Block.Is.Last != 0 && block <= maxPredictable
}
