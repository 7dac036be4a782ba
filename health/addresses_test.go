package health

import (
	"strings"
	"testing"
	"time"
)

func TestEachAddressHasAVerdictOfItsOwn(t *testing.T) {
	const one, two = "10.0.0.1:5060", "10.0.0.2:5060"
	for _, c := range []struct {
		name  string
		shows string // of the first address: + an answer, - none, x a call that failed there; the second answers always
		want  string
	}{
		{"nothing is known before the first probe", "", "unknown"},
		{"an answer is enough", "+", "up"},
		{"two misses are a suspicion", "+--", "suspect"},
		{"three bring it down", "+---", "down"},
		{"calls count as well", "+x--", "down"},
		{"one answer brings it back: it only orders who is tried first", "+---+", "up"},
	} {
		t.Run(c.name, func(t *testing.T) {
			now := time.Date(2026, 11, 26, 3, 0, 0, 0, time.UTC)
			j := New(now, Config{Endpoints: []Endpoint{{Name: "room"}}, Seed: 1})
			j.Addresses(now, "room", []string{one, two})
			for _, s := range c.shows {
				now = now.Add(time.Second)
				j.AddressProbed(now, now, Probe{Endpoint: "room", Address: two, Outcome: Alive, Code: 200})
				switch s {
				case '+':
					j.AddressProbed(now, now, Probe{Endpoint: "room", Address: one, Outcome: Alive, Code: 200})
				case '-':
					j.AddressProbed(now, now, Probe{Endpoint: "room", Address: one, Outcome: Silent})
				case 'x':
					j.AddressFailed(now, "room", one, "got no response")
				}
			}
			if got := j.Snapshot().OfAddress("room", one).String(); got != c.want {
				t.Errorf("the first address is %s, want %s", got, c.want)
			}
			if got := j.Snapshot().OfAddress("room", two); c.shows != "" && got != Up {
				t.Errorf("the second address is %s, want up: it answers", got)
			}
			if got := j.Snapshot().Of("room").Verdict; got != Unknown {
				t.Errorf("the endpoint is %s, want unknown: nobody told what the round showed", got)
			}
		})
	}
}

func TestAddressesThatStayKeepTheirVerdict(t *testing.T) {
	now := time.Date(2026, 11, 26, 3, 0, 0, 0, time.UTC)
	j := New(now, Config{Endpoints: []Endpoint{{Name: "room"}}, Seed: 1})
	j.Addresses(now, "room", []string{"a", "b"})
	for range 3 {
		j.AddressProbed(now, now, Probe{Endpoint: "room", Address: "b", Outcome: Silent})
	}
	j.Addresses(now, "room", []string{"c", "b"})
	if b, c := j.Snapshot().OfAddress("room", "b"), j.Snapshot().OfAddress("room", "c"); b != Down || c != Unknown {
		t.Errorf("after DNS changed b is %s and c %s, want down and unknown", b, c)
	}
	all := j.ExplainAll(now)
	if len(all) != 1 || len(all[0].Addresses) != 2 || !strings.Contains(all[0].Addresses[1].String(), "b down since") {
		t.Errorf("the explanation is %+v, want both addresses with their verdicts", all)
	}
	if n := j.Notices(); len(n) != 1 || n[0].Kind != AddressChanged {
		t.Errorf("the notices are %v, want one: an address went down", n)
	}
}

func TestOurOwnStallBringsNoAddressDown(t *testing.T) {
	now := time.Date(2026, 11, 26, 3, 0, 0, 0, time.UTC)
	j := New(now, Config{Endpoints: []Endpoint{{Name: "room"}}, Seed: 1})
	j.Addresses(now, "room", []string{"a", "b"})
	j.Stalled(now, time.Second)
	for range 5 {
		j.AddressProbed(now, now, Probe{Endpoint: "room", Address: "a", Outcome: Silent})
	}
	if got := j.Snapshot().OfAddress("room", "a"); got != Unknown {
		t.Errorf("it is %s, want unknown: evidence of that time is void (R13)", got)
	}
}
