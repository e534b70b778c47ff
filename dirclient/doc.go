// Package dirclient talks with directory servers: it downloads the signed list of servers and publishes server descriptors. Clients,
// mixes and directory authorities use it. The source is dir-spec 5 and dir-spec 8.
//
// What a download sends must not tell users apart: every request has the same few headers, whoever makes it and whatever is held
// already. There are no cookies, no conditional and no partial requests, nothing is compressed on the way that is not compressed already,
// redirects are not followed, each directory server gets a connection of its own, and nothing of a connection is remembered.
//
// A directory counts only if more than half of the trusted authorities signed it, in both ways that there are. What the sources say
// beside that is never trusted: a source can withhold a directory, not forge one.
package dirclient
