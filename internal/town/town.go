// Package town is a telephone network for tests and for the demo: wires in memory, phones, control rooms, carriers.
//
// A [Network] is an IP network in memory. Its hosts open sockets as a kernel would (a [Host] is a wire.Network), its paths delay, lose, repeat and
// reorder what is sent, and hosts die in the ways machines die: silent, switched off, rebooted, cut off. All chance comes from one seed and each
// packet arrives at its own instant, so that under testing/synctest a night can be replayed.
//
// A [Phone] is a small SIP user agent with a script: carrier, control room, partner. It keeps the order of what it hears and records it per call.
// A [SipgoPhone] says the same things through sipgo's whole stack: a second opinion. Both work over a Network and over the kernel's sockets.
//
// The package decides nothing about calls and knows nothing of the rooms above sip/wire; it only behaves, well or badly, and remembers.
package town
