// Package authority is the directory authority: it votes each day on which mixes exist and are good, computes with the other members of
// its group what the majority says, and publishes the consensus that a majority has signed. The source is dir-spec 5.1 and dir-spec 7.
//
// The heart is a schedule engine (Step) that does whatever is due at a given time and says when it wants to be called again. Run calls it
// by a clock. All that it knows it keeps in files: it can be killed at any instant and started again at any time of the day. Two things
// it never does twice for a day, whatever happens: sign a vote, sign a consensus. Both are on the disk before anybody can see them.
//
// What is listed and recommended comes from a Source, which package authority/inbox implements.
//
// Beyond dir-spec: every vote that was received is published again, so that all members count the same votes; who signs two votes for one
// day is not counted; no consensus is published as the current one unless more than half of the whole group have signed it, with SHA-1 and
// with SHA-256; and each consensus names the one before. The last resort of dir-spec 7.6 does not exist here.
package authority
