// Package acceptance looks at nines from outside: its tests start the program that an operator would start and talk to it over real sockets, as
// carriers, control rooms, strangers and the command line do.
//
// Each test has a network of its own on loopback (127.a.b.0/24), so that all can run at the same time. `make test` runs a short version of what
// `make soak` (build tag soak) runs at full length.
package acceptance
