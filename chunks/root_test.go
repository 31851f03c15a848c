package chunks

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestRootText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r Root
		copy(r[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "root"))
		if r.IsZero() {
			return
		}
		for _, s := range []string{r.String(), strings.ToUpper(r.String())} {
			if got, err := ParseRoot(s); err != nil || got != r {
				t.Fatal(got, err)
			}
		}
		var got Root
		text, _ := r.MarshalText()
		if err := got.UnmarshalText(text); err != nil || got != r || !strings.HasPrefix(r.String(), r.Short()) {
			t.Fatal(got, err)
		}
	})
}

func TestParseRootRefuses(t *testing.T) {
	good := Root{1}.String()
	for _, s := range []string{"", good[1:], good + "a", "0" + good[1:], good[:51] + "b", strings.Repeat("a", 52), good[:50] + "é"} {
		if _, err := ParseRoot(s); err == nil {
			t.Errorf("%q was read", s)
		}
	}
}
