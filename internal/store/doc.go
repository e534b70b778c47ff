// Package store keeps everything of a mix that must survive kill -9: accepted packets and the replay logs.
//
// Packets lie in a ring of append-only segment files, the journal. Every change (packets and replay hashes
// accepted in a tick, packets moved to a queue, retries noted, packets erased) is one checksummed record appended
// to the youngest segment; recovery replays the records in order. The oldest segment is reclaimed first: packets
// that still live are copied to the young end with their whole state, then the file is deleted. No record
// therefore outlives what it refers to, and erased packets leave the disk with their segment.
//
// Replay hashes are journaled with the packets of their tick, in the same record, so that acceptance and replay
// protection are one atomic act. Each packet key has a replay log in a directory of its own; the store moves
// hashes from the journal to sorted, immutable runs there, and looks new hashes up in a table in memory and in
// the runs. The journal keeps a segment until all its hashes are durable in runs.
//
// With an FS that [Sealed] made, everything is encrypted on its way to the disk, and each packet has a key of its own
// besides, in a key page that is rewritten in place when the packet is erased.
//
// The layout on disk, byte by byte, and what happens at each crash point: docs/store.md.
//
// # Caveats
//
// A sync that fails makes the store fail for good (ErrFailed): the state of the disk is unknown until the store is
// opened again. Erased packets stay in their segment until it is reclaimed, in clear readable; [Store.Sweep] forces that. Encryption keeps
// secrets; it does not notice who changes the disk.
// The store knows no clock: every time it stores comes from the caller, who rounds it to the mix interval.
package store
