package health

import (
	"fmt"
	"slices"
	"time"
)

// An endpoint may have several addresses. Each has a verdict of its own, by which an attempt orders them; the endpoint's is that of its best address, and
// is judged in the round's best probe ([Probe]). An address needs no hold-down and no proof: it orders, inside one turn, who is tried first.

// Address is what is believed of one address of an endpoint.
type Address struct {
	Address string    `json:"address"`
	Verdict Verdict   `json:"verdict"`
	Since   time.Time `json:"since"`
	Missed  int       `json:"missed"` // probes, and calls that met silence there, in a row
	Words   string    `json:"words"`  // what the last showed
	RTT     float64   `json:"rtt_ms,omitempty"`
}

// maxAddresses bounds what DNS can make us remember of an endpoint.
const maxAddresses = 16

// Addresses says which addresses an endpoint has now. What is believed of those that stay survives.
func (j *Judge) Addresses(now time.Time, name EndpointName, list []string) {
	w := j.of[name]
	if w == nil || slices.EqualFunc(w.addresses, list, func(a Address, s string) bool { return a.Address == s }) {
		return
	}
	var kept []Address
	for _, s := range list[:min(len(list), maxAddresses)] {
		if i := w.address(s); i >= 0 {
			kept = append(kept, w.addresses[i])
		} else {
			kept = append(kept, Address{Address: s, Since: now, Words: "not probed yet"})
		}
	}
	w.addresses = kept
	j.snapshot = nil
}

func (w *watch) address(s string) int {
	return slices.IndexFunc(w.addresses, func(a Address) bool { return a.Address == s })
}

// AddressProbed tells what became of a probe of one address, sent at sent. It says nothing about the endpoint: that is what Probed is for.
func (j *Judge) AddressProbed(now, sent time.Time, p Probe) {
	j.addressShowed(now, sent, p.Endpoint, p.Address, p.Outcome == Alive, describe(p), p.RTT)
}

// AddressFailed tells that a call met silence or a broken connection at one address.
func (j *Judge) AddressFailed(now time.Time, name EndpointName, address, why string) {
	j.addressShowed(now, now, name, address, false, "a call "+why, 0)
}

func (j *Judge) addressShowed(now, sent time.Time, name EndpointName, address string, good bool, words string, rtt time.Duration) {
	w := j.of[name]
	if w == nil {
		return
	}
	i := w.address(address)
	if i < 0 || !good && j.voided(sent) {
		return
	}
	a := &w.addresses[i]
	was := a.Verdict
	a.Words = words
	if good {
		a.Missed, a.Verdict = 0, Up
		a.RTT = float64(rtt) / float64(time.Millisecond)
	} else {
		a.Missed++
		switch {
		case a.Missed >= j.cfg.DownAfter:
			a.Verdict = Down
		case a.Missed >= j.cfg.suspectAfter():
			a.Verdict = Suspect
		}
	}
	if a.Verdict == was {
		return
	}
	a.Since = now
	j.snapshot = nil
	if len(w.addresses) > 1 && (a.Verdict == Down || was == Down) {
		j.notice(now, name, AddressChanged, "its address %s is %s: %s", address, a.Verdict, words)
	}
}

// OfAddress is what is believed of one address of an endpoint.
func (s *Snapshot) OfAddress(name EndpointName, address string) Verdict {
	if s == nil {
		return Unknown
	}
	return s.addresses[addressKey{name, address}]
}

type addressKey struct {
	endpoint EndpointName
	address  string
}

func (s *Snapshot) addAddresses(w *watch) {
	if len(w.addresses) < 2 {
		return // there is nothing to order
	}
	if s.addresses == nil {
		s.addresses = map[addressKey]Verdict{}
	}
	for _, a := range w.addresses {
		s.addresses[addressKey{w.endpoint.Name, a.Address}] = a.Verdict
	}
}

// String says an address's verdict in a line.
func (a Address) String() string {
	return fmt.Sprintf("%s %s since %s: %s", a.Address, a.Verdict, clock(a.Since), a.Words)
}
