package portmap

import "time"

const (
	leastRenew = 4 * time.Second // RFC 6887 section 11.2.1: between two requests
	permanent  = 24 * time.Hour  // between renewals of what lives until it is removed
)

// renewAfter returns how long to wait with a mapping that lives for rest: half of it to five eighths, and after that failed
// the same of what is left then (RFC 6887 section 11.2.1). spread is in [0, 1).
func renewAfter(rest time.Duration, spread float64) time.Duration {
	half := rest / 2
	return max(leastRenew, half+time.Duration(float64(rest/8)*spread))
}

// retryAfter returns how long to wait after n fruitless attempts in a row. Routers that once gave a good mapping may be
// restarting and are asked every half a minute; others hardly change their mind.
func retryAfter(n int, once bool) time.Duration {
	most := 10 * time.Minute
	if once {
		most = 30 * time.Second
	}
	switch {
	case n == 0:
		return time.Second
	case n > 8:
		return most
	}
	return min(most, 4*time.Second<<n)
}
