package stunclient

import (
	"bytes"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/stun/v2"
)

func withPort(a netip.AddrPort, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr(), port)
}

func TestBinding(t *testing.T) {
	other, origin := addr("192.0.2.9:3479"), serv1
	for _, tt := range []struct {
		name   string
		server netip.AddrPort
		answer func(request []byte) []byte
		want   Result
	}{
		{"IPv4", serv1, func(r []byte) []byte { return Respond(r, mapped) }, Result{Server: serv1, Mapped: mapped}},
		{"IPv6", serv6, func(r []byte) []byte { return Respond(r, addr("[2001:db8:7::7]:7337")) },
			Result{Server: serv6, Mapped: addr("[2001:db8:7::7]:7337")}},
		{"NAT64", serv6, func(r []byte) []byte { return Respond(r, mapped) }, Result{Server: serv6, Mapped: mapped}},
		{"server of RFC 3489", serv1, func(r []byte) []byte {
			return build(r, stun.BindingSuccess, &stun.MappedAddress{IP: mapped.Addr().AsSlice(), Port: int(mapped.Port())})
		}, Result{Server: serv1, Mapped: mapped}},
		{"server of RFC 5780", serv1, func(r []byte) []byte {
			return build(r, stun.BindingSuccess, xorMapped(mapped), stun.NewSoftware("test"),
				&stun.OtherAddress{IP: other.Addr().AsSlice(), Port: int(other.Port())},
				&stun.ResponseOrigin{IP: origin.Addr().AsSlice(), Port: int(origin.Port())}, stun.Fingerprint)
		}, Result{Server: serv1, Mapped: mapped, Other: other, Origin: origin}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newInternet()
				n.servers[tt.server] = func(r []byte) []packet { return []packet{{tt.answer(r), tt.server, 20 * ms}} }
				tt.want.RTT, tt.want.Requests = 20*ms, 1
				got, err := n.Binding(t.Context(), tt.server)
				if err != nil || got != tt.want {
					t.Errorf("got  %+v, %v\nwant %+v", got, err, tt.want)
				}
			})
		})
	}
}

func TestBindingUnmapsServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newInternet()
		n.serve(serv1, mapped, ms)
		r, err := n.Binding(t.Context(), addr("[::ffff:192.0.2.1]:3478"))
		if err != nil || r.Server != serv1 {
			t.Errorf("got %+v, %v", r, err)
		}
	})
}

func TestBindingOfNowhere(t *testing.T) {
	n := newInternet()
	for _, a := range []netip.AddrPort{{}, addr("0.0.0.0:3478"), addr("192.0.2.1:0")} {
		if _, err := n.Binding(t.Context(), a); err == nil {
			t.Errorf("Binding with %v worked", a)
		}
	}
	if len(n.sent) != 0 {
		t.Error("something was sent")
	}
}

// hostile lists answers that must not be believed, although they come from the server and have the right transaction.
var hostile = map[string]func(request []byte) []byte{
	"no attribute":    func(r []byte) []byte { return build(r, stun.BindingSuccess) },
	"cut":             func(r []byte) []byte { return good(r)[:30] },
	"longer":          func(r []byte) []byte { return append(good(r), 0, 0, 0, 0) },
	"huge":            func(r []byte) []byte { return build(r, stun.BindingSuccess, xorMapped(mapped), raw(0x8022, 1500)) },
	"many attributes": func(r []byte) []byte { return build(r, manyAttributes(r)...) },
	"unspecified":     func(r []byte) []byte { return build(r, stun.BindingSuccess, xorMapped(addr("0.0.0.0:1"))) },
	"multicast":       func(r []byte) []byte { return build(r, stun.BindingSuccess, xorMapped(addr("224.0.0.1:1"))) },
	"port 0":          func(r []byte) []byte { return build(r, stun.BindingSuccess, xorMapped(addr("192.0.2.1:0"))) },
	"empty address":   func(r []byte) []byte { return build(r, stun.BindingSuccess, raw(stun.AttrXORMappedAddress, 0)) },
	"one byte":        func(r []byte) []byte { return build(r, stun.BindingSuccess, raw(stun.AttrXORMappedAddress, 1)) },
	"address of 5":    func(r []byte) []byte { return build(r, stun.BindingSuccess, raw(stun.AttrXORMappedAddress, 5)) },
	"unknown family":  func(r []byte) []byte { return build(r, stun.BindingSuccess, raw(stun.AttrXORMappedAddress, 8)) },
	"wrong fingerprint": func(r []byte) []byte {
		return build(r, stun.BindingSuccess, xorMapped(mapped), raw(stun.AttrFingerprint, 4))
	},
	"early fingerprint": func(r []byte) []byte {
		return build(r, stun.BindingSuccess, stun.Fingerprint, xorMapped(mapped))
	},
	"another method": func(r []byte) []byte {
		return build(r, stun.NewType(stun.MethodAllocate, stun.ClassSuccessResponse), xorMapped(mapped))
	},
	"error without code":   func(r []byte) []byte { return build(r, stun.BindingError) },
	"error with cut code":  func(r []byte) []byte { return build(r, stun.BindingError, raw(stun.AttrErrorCode, 3)) },
	"error without number": func(r []byte) []byte { return build(r, stun.BindingError, raw(stun.AttrErrorCode, 4)) },
}

func good(request []byte) []byte { return Respond(request, mapped) }

func raw(t stun.AttrType, size int) stun.Setter {
	return stun.RawAttribute{Type: t, Value: make([]byte, size)}
}

func manyAttributes([]byte) []stun.Setter {
	return append([]stun.Setter{stun.BindingSuccess, xorMapped(mapped)}, slices.Repeat([]stun.Setter{raw(0x8022, 0)}, maxAttributes)...)
}

func TestHostileAnswersAreIgnored(t *testing.T) {
	for name, lie := range hostile {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newInternet()
				n.servers[serv1] = func(r []byte) []packet {
					return []packet{{lie(r), serv1, 10 * ms}, {good(r), serv1, 20 * ms}}
				}
				r, err := n.Binding(t.Context(), serv1)
				if err != nil || r.Mapped != mapped || r.RTT != 20*ms {
					t.Errorf("got %+v, %v", r, err)
				}
				if s := n.Stats(); s.Malformed != 1 || s.Answers != 1 || s.Unknown+s.WrongSource != 0 {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

// Answers from somebody else, to another transaction or repeated, and packets that are no answers.
func TestForgedAnswersAreIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newInternet()
		lie := addr("198.51.100.66:666")
		n.servers[serv1] = func(r []byte) []packet {
			guessed := bytes.Clone(r)
			guessed[19]++
			return []packet{
				{Respond(r, lie), serv2, 1 * ms},
				{Respond(r, lie), withPort(serv1, 3479), 2 * ms},
				{Respond(guessed, lie), serv1, 3 * ms},
				{r, serv1, 4 * ms}, // the request itself
				{[]byte("no STUN at all"), serv1, 5 * ms},
				{good(r), serv1, 10 * ms},
				{Respond(r, lie), serv1, 11 * ms}, // too late
			}
		}
		r, err := n.Binding(t.Context(), serv1)
		if err != nil || r.Mapped != mapped {
			t.Errorf("got %+v, %v", r, err)
		}
		<-time.After(time.Second)
		if s := n.Stats(); s.WrongSource != 2 || s.Unknown != 2 || s.Malformed != 0 || s.Answers != 1 {
			t.Errorf("%+v", s)
		}
	})
}

func TestHandleTellsWhoseAnswerItIs(t *testing.T) {
	c := &Client{}
	tx := &transaction{server: serv1, answers: make(chan answer, 1)}
	if err := c.begin(tx, time.Now()); err != nil {
		t.Fatal(err)
	}
	request := tx.request
	stranger := stun.MustBuild(stun.BindingSuccess, stun.NewTransactionIDSetter([12]byte{1}), xorMapped(mapped)).Raw
	for _, tt := range []struct {
		name string
		b    []byte
		want bool
	}{
		{"nothing", nil, false}, {"a request", request, false}, {"a stranger's answer", stranger, false},
		{"the answer", good(request), true}, {"the answer again", good(request), false},
	} {
		if got := c.Handle(tt.b, serv1); got != tt.want {
			t.Errorf("Handle of %s says %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestErrorResponses(t *testing.T) {
	for _, tt := range []struct {
		name    string
		setters []stun.Setter
		want    ResponseError
		text    string
	}{
		{"plain", []stun.Setter{stun.CodeBadRequest}, ResponseError{Code: 400, Reason: "Bad Request"}, `400 "Bad Request"`},
		{"redirect", []stun.Setter{stun.CodeTryAlternate, &stun.AlternateServer{IP: serv2.Addr().AsSlice(), Port: 3478}},
			ResponseError{Code: 300, Reason: "Try Alternate", Alternate: serv2}, "300"},
		{"unprintable", []stun.Setter{stun.ErrorCodeAttribute{Code: 500, Reason: []byte("a\x1b[31m\xff\nb" + strings.Repeat("x", 700))}},
			ResponseError{Code: 500, Reason: "a[31mb" + strings.Repeat("x", maxReason-6)}, "500"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newInternet()
				n.servers[serv1] = func(r []byte) []packet {
					return []packet{{build(r, append([]stun.Setter{stun.BindingError}, tt.setters...)...), serv1, ms}}
				}
				_, err := n.Binding(t.Context(), serv1)
				var got *ResponseError
				tt.want.Server = serv1
				if !errors.As(err, &got) || *got != tt.want || !strings.Contains(err.Error(), tt.text) {
					t.Errorf("got %#v: %v", got, err)
				}
				if s := n.Stats(); s.Errors != 1 || s.Answers != 1 {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

// https://www.rfc-editor.org/rfc/rfc8489.html#section-6.3.3
func TestUnknownRequiredAttributeFailsTransaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newInternet()
		n.servers[serv1] = func(r []byte) []packet {
			return []packet{{build(r, stun.BindingSuccess, xorMapped(mapped), raw(0x7777, 4)), serv1, ms}}
		}
		if r, err := n.Binding(t.Context(), serv1); err == nil || !strings.Contains(err.Error(), "0x7777") {
			t.Errorf("got %+v, %v", r, err)
		}
	})
}

func FuzzHandle(f *testing.F) {
	request := stun.MustBuild(stun.BindingRequest, stun.NewTransactionIDSetter([12]byte{})).Raw
	f.Add(good(request))
	for _, lie := range hostile {
		f.Add(lie(request))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c := &Client{Rand: zeroes{}}
		answers := make(chan answer, 1)
		if err := c.begin(&transaction{server: serv1, answers: answers}, time.Time{}); err != nil {
			t.Fatal(err)
		}
		before := bytes.Clone(b)
		ours := c.Handle(b, serv1)
		if !bytes.Equal(b, before) {
			t.Fatal("the packet was changed")
		}
		if !ours {
			return
		}
		select {
		case got := <-answers:
			r := got.r
			usable := r.mapped.IsValid() && r.mapped.Port() != 0 && !r.mapped.Addr().Is4In6()
			if !r.failed && len(r.unknown) == 0 && !usable {
				t.Fatalf("accepted %+v", r)
			}
			if r.failed && (r.code < 300 || r.code > 699 || len([]rune(r.reason)) > maxReason) {
				t.Fatalf("accepted %+v", r)
			}
			if len(c.pending) != 0 {
				t.Fatal("the transaction is still there")
			}
		default:
			if c.Stats().Malformed != 1 || len(c.pending) != 1 {
				t.Fatalf("neither answered nor malformed: %+v", c.Stats())
			}
		}
	})
}
