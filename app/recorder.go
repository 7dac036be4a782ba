package app

import "nines/sip"

// Recorded implements sip.Observer.
func (t *tally) Recorded(sip.Record) {}
