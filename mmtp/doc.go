// Package mmtp is the transport between nodes: the Mixminion Transfer Protocol over TLS (minion-spec 4), client and server.
//
// A client sends packets over a link; the server answers each with RECEIVED or REJECTED, in order. JUNK is padding that looks like a
// packet from outside. A link is TLS 1.3 with crypto/tls's default key exchange, which is hybrid and post-quantum, without tickets
// or resumption. The server proves the identity key whose SHA-1 is the keyid in routing information: its chain is a link
// certificate signed by the identity key and the self-signed certificate of that key. The check is made by hand on every link.
//
// The specification asks for renegotiation after 15 minutes; TLS 1.3 has none, so a client opens a new link instead, and a server
// closes a link that has become too old.
//
// Caveats: the specification prescribes TLS_DHE_RSA_WITH_AES_128_CBC_SHA, which is spoken only in programs built with
// the tag legacytls, with peers that know nothing newer, and if it is asked for (ServerConfig.Legacy,
// ClientConfig.Legacy). Timeouts of sockets run on real time, because the runtime compares deadlines with it; the
// injected clock decides the dates of certificates and the age of links. Nothing here logs an address, and no log line
// is about one packet.
package mmtp
