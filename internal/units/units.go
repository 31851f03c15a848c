// Package units reads counts of bytes, rates and times as people write them: 64KiB, 10MB, 100Mbit, 1.5MiB/s, 2h, and none.
package units

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// ParseBytes reads a count of bytes from 1 B to 1 TiB: a number with or without one of k, M, G, T (powers of 1000) or Ki, Mi,
// Gi, Ti (of 1024), with or without a B. Case does not matter.
func ParseBytes(s string) (int64, error) {
	digits := strings.TrimRight(s, "KMGTiBkb")
	unit := strings.ToLower(s[len(digits):])
	unit = strings.TrimSuffix(unit, "b")
	base := 1000.0
	if strings.HasSuffix(unit, "i") {
		base, unit = 1024, strings.TrimSuffix(unit, "i")
	}
	power := strings.Index("kmgt", unit)
	if unit == "" {
		power = -1
	}
	f, err := strconv.ParseFloat(digits, 64)
	if err != nil || len(unit) > 1 || (unit != "" && power < 0) || (unit == "" && base == 1024) {
		return 0, fmt.Errorf("%q is no count of bytes (examples: 4096, 64KiB, 10MB)", s)
	}
	n := f * math.Pow(base, float64(power+1))
	if !(n >= 1 && n <= 1<<40) {
		return 0, fmt.Errorf("%q is not between 1 byte and 1 TiB", s)
	}
	return int64(n), nil
}

var rateForm = regexp.MustCompile(`^([0-9]{1,15}(?:\.[0-9]{1,15})?)([kKMGT]?)(i?)(bit|bit/s|B/s)$`)

// MaxRate is the highest rate that can be read, in bytes a second.
const MaxRate = 1 << 40

// ParseRate reads a rate and returns it in bytes a second, 1 to [MaxRate]: a number and a unit, bit or B, the latter with /s
// and both with or without one of the prefixes k, M, G, T, Ki, Mi, Gi, Ti. A unit is wanted, and "b" is none, because bits
// and bytes are mixed up too easily. "none" is 0: no limit.
func ParseRate(s string) (uint64, error) {
	if s == "none" {
		return 0, nil
	}
	m := rateForm.FindStringSubmatch(s)
	if m == nil || m[2] == "" && m[3] != "" {
		return 0, fmt.Errorf("%q is no rate (examples: 100Mbit, 10MB/s, 1GiB/s, none)", s)
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		return 0, fmt.Errorf("%q is no rate: %w", s, err)
	}
	base := 1000.0
	if m[3] != "" {
		base = 1024
	}
	if m[2] != "" {
		n *= math.Pow(base, float64(1+strings.Index("kmgt", strings.ToLower(m[2]))))
	}
	if m[4] != "B/s" {
		n /= 8
	}
	if !(n >= 1 && n <= MaxRate) {
		return 0, fmt.Errorf("%q is not between 8 bit and 1 TiB a second", s)
	}
	return uint64(n), nil
}

// Rate is a rate in bytes a second that a command-line flag can be; 0 means no limit.
type Rate uint64

// Set implements pflag.Value.
func (r *Rate) Set(s string) error {
	n, err := ParseRate(s)
	if err == nil {
		*r = Rate(n)
	}
	return err
}

// Type implements pflag.Value.
func (*Rate) Type() string { return "rate" }

// String returns the rate in a form that Set reads without loss.
func (r *Rate) String() string {
	n := uint64(*r)
	switch {
	case n == 0:
		return "none"
	case n%125_000_000 == 0:
		return fmt.Sprintf("%dGbit", n/125_000_000)
	case n%125_000 == 0:
		return fmt.Sprintf("%dMbit", n/125_000)
	}
	return fmt.Sprintf("%dB/s", n)
}

// Bytes is a count of bytes that a command-line flag can be; 0 means no limit.
type Bytes uint64

// Set implements pflag.Value.
func (b *Bytes) Set(s string) error {
	if s == "none" {
		*b = 0
		return nil
	}
	n, err := ParseBytes(s)
	if err == nil {
		*b = Bytes(n)
	}
	return err
}

// Type implements pflag.Value.
func (*Bytes) Type() string { return "bytes" }

// String returns the count in a form that Set reads without loss.
func (b *Bytes) String() string {
	n := uint64(*b)
	switch {
	case n == 0:
		return "none"
	case n%1e9 == 0:
		return fmt.Sprintf("%dGB", n/1e9)
	case n%1e6 == 0:
		return fmt.Sprintf("%dMB", n/1e6)
	case n%(1<<20) == 0:
		return fmt.Sprintf("%dMiB", n>>20)
	}
	return fmt.Sprintf("%dB", n)
}

// Time is a time that a command-line flag can be; 0 means no limit.
type Time time.Duration

// Set implements pflag.Value.
func (t *Time) Set(s string) error {
	if s == "none" {
		*t = 0
		return nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return fmt.Errorf("%q is no time (examples: 30s, 2h, none)", s)
	}
	*t = Time(d)
	return nil
}

// Type implements pflag.Value.
func (*Time) Type() string { return "time" }

// String returns the time in a form that Set reads without loss.
func (t *Time) String() string {
	if *t == 0 {
		return "none"
	}
	return time.Duration(*t).String()
}
