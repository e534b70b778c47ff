// Package agent sends a user's packets at times that say nothing: the program that runs all the time, so that whoever watches the user's
// line cannot tell when, nor whether, they write.
//
// Events come by a Poisson process. At each of them a fixed number of packets leaves, one by default: random ones of the queue, and
// dummies for those that are missing. What keeps the line independent of the queue:
//
//   - The time of an event is drawn from the time of the one before, as soon as that has come, by a process that knows neither the queue nor
//     the outcome or the length of any sending.
//   - Before each event as many dummies are wrapped as could be needed, and the queue is looked through, whether or not anything waits.
//     If it could not be looked through in time, since another program has the home directory locked, dummies leave.
//   - Without dummies nothing leaves at all. So a packet of the queue only ever takes the place of a dummy.
//   - From then on both take the same way: one connection for each packet, one attempt, no repetition. What could not be sent waits in the
//     queue for another event.
//   - The path of a dummy is drawn by the law for a short mail.
//   - Events that would have been while the machine slept are not made up for.
//
// What it does not hide: that the user runs it, and since when; the first hops of packets whose path the user has named; and that the
// packets of one long message, which all end at one server, never begin there.
//
// Front ends talk to it over a Unix socket in the home directory; the protocol is docs/spec/agent-api.md, and package client has a Go
// client for it. Nothing here logs, and nothing is written down about what was sent when.
package agent
