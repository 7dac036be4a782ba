// Package night plays a county's night in memory and looks whether anybody's call was lost.
//
// The whole program runs on a [nines/internal/town] network under testing/synctest: only its sockets and its clock are replaced. Carriers, a
// neighbouring force and control rooms call, ring, refuse, die, return and lie as one seed says; afterwards every promise that can be checked from
// outside is checked against what was on the wires. There is nothing here but tests:
//
//	go test ./internal/town/night                                 a minute and a half of nights, each with a seed of its own
//	go test ./internal/town/night -run 'TestNight$' -for=1h       an hour of them
//	go test ./internal/town/night -run 'TestNight$' -seed=123 -v  one night again, with the ladder and the log of each call that failed
package night
