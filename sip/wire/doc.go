// Package wire owns the SIP sockets and the text of SIP messages.
//
// A [Stack] binds UDP sockets and TCP listeners, cuts what arrives into whole messages and hands them with their [Flow] to a [Sink]; what is to
// be sent comes back as [Out] values. It keeps the order of arrival, it never blocks the sender, and it says which of our datagrams came back as
// an ICMP error. [Parse] turns bytes into a [Message] and mends what strangers broke; [Peek] looks at a message without parsing it, to find its
// owner; the Append functions write messages without garbage.
//
// What it does not do: transactions, dialogs, name resolution, deciding who may call us (the Accept function of [Config] is asked).
//
// To drive it: Open, then Run in a goroutine; answer on the flow a message came from; ask [Stack.UDPFlow] or [Stack.Connect] for a flow to
// somebody new. Everything is bounded: a message has at most 65,535 bytes and 1,000 header lines, a connection has a bounded queue and a deadline.
package wire
