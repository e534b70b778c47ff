// Package oldbase reads the base directory of a server of Mixminion 0.0.8: its keys, the replay logs of the packet keys, and its settings.
//
// A packet key is worth taking over only with all hashes that its server has seen: without one of them it would open that packet a second
// time, and show where it goes. So whatever of a replay log is not understood to the last byte makes its key unusable.
//
// The package changes nothing in the directory. It knows the one database format that every Python of 0.0.8 had, "dumbdbm", an index of
// lines and a file that the index points into; of others it says so.
package oldbase
