package units

import (
	"testing"
	"time"
)

func TestParseBytes(t *testing.T) {
	for in, want := range map[string]int64{
		"1": 1, "4096": 4096, "64KiB": 64 << 10, "1.5MiB": 3 << 19, "10MB": 10e6, "1k": 1000, "2GiB": 2 << 30, "1TiB": 1 << 40,
	} {
		if got, err := ParseBytes(in); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "0", "-1", "x", "1XB", "1KKB", "MiB", "2TiB", "1i", "NaN", "Inf"} {
		if got, err := ParseBytes(in); err == nil {
			t.Errorf("%q: got %d, want an error", in, got)
		}
	}
}

func TestParseRate(t *testing.T) {
	for in, want := range map[string]uint64{
		"100Mbit": 12_500_000, "8bit": 1, "1.5kbit": 187, "1Gbit/s": 125_000_000, "10MB/s": 10_000_000, "1GiB/s": 1 << 30,
		"1KiB/s": 1024, "1Mibit": 1 << 17, "7B/s": 7, "1TiB/s": MaxRate, "none": 0,
	} {
		if got, err := ParseRate(in); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", in, got, err, want)
		}
	}
	for _, in := range []string{
		"", "0", "100", "100M", "100Mb", "100Mb/s", "100Mbps", "10MB", "-1Mbit", "1e3Mbit", "0bit", "7bit", "2TiB/s", "1iB/s",
		"Mbit", " 1Mbit", "1 Mbit", "1Mbit/h", "NaNbit", "1.Mbit", ".5Mbit", "99999999999999999999Mbit",
	} {
		if got, err := ParseRate(in); err == nil {
			t.Errorf("%q: got %d, want an error", in, got)
		}
	}
}

func TestRateIsAFlag(t *testing.T) {
	r := Rate(7)
	if err := r.Set("lots"); err == nil || r != 7 {
		t.Errorf("after nonsense: %d, %v", r, err)
	}
	for n, want := range map[Rate]string{0: "none", 12_500_000: "100Mbit", 125_000_000: "1Gbit", 1024: "1024B/s"} {
		if got := n.String(); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

// FuzzParseRate checks that what is read is within its range and is read again from what is shown.
func FuzzParseRate(f *testing.F) {
	for _, s := range []string{"100Mbit", "10MB/s", "1GiB/s", "none", "1.5kbit", "0bit"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var r, again Rate
		if err := r.Set(s); err != nil {
			return
		}
		if r > MaxRate || r == 0 && s != "none" {
			t.Fatalf("%q: %d", s, r)
		}
		if err := again.Set(r.String()); err != nil || again != r {
			t.Fatalf("%q: %d is shown as %q, which is %d, %v", s, r, r.String(), again, err)
		}
	})
}

// FuzzParseBytes checks that what is read is within its range.
func FuzzParseBytes(f *testing.F) {
	for _, s := range []string{"1", "64KiB", "1.5MiB", "NaN", "0x1p3"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if n, err := ParseBytes(s); err == nil && (n < 1 || n > 1<<40) {
			t.Fatalf("%q: %d", s, n)
		}
	})
}

func TestBytesAreAFlag(t *testing.T) {
	b := Bytes(7)
	if err := b.Set("lots"); err == nil || b != 7 {
		t.Errorf("after nonsense: %d, %v", b, err)
	}
	for n, want := range map[Bytes]string{0: "none", 10e9: "10GB", 5e6: "5MB", 1 << 20: "1MiB", 1001: "1001B"} {
		got := n.String()
		if err := b.Set(got); got != want || err != nil || b != n {
			t.Errorf("%d: %q, want %q; read again: %d, %v", n, got, want, b, err)
		}
	}
}

func TestTimeIsAFlag(t *testing.T) {
	d := Time(7)
	for _, in := range []string{"", "lots", "0", "-1s", "5"} {
		if err := d.Set(in); err == nil || d != 7 {
			t.Errorf("after %q: %d, %v", in, d, err)
		}
	}
	for n, want := range map[Time]string{0: "none", Time(2 * time.Hour): "2h0m0s", Time(1500 * time.Millisecond): "1.5s"} {
		got := n.String()
		if err := d.Set(got); got != want || err != nil || d != n {
			t.Errorf("%d: %q, want %q; read again: %d, %v", n, got, want, d, err)
		}
	}
}
