package config

import (
	"fmt"
	"slices"
)

// live are the keys of a server that can change while it runs; "*" stands for all of a section.
var live = map[string][]string{
	"Server": {
		"LogFile", "LogLevel", "LogFormat", "EchoMessages", "Daemon", "Contact-Email", "Contact-Fingerprint", "Comments", "MyFamily",
		"LogStats", "StatsInterval", "MetricsListen",
		"MixAlgorithm", "MixInterval", "MixJitter", "MixPoolRate", "MixPoolMinSize", "MixCover",
		"Timeout", "MaxDisk", "MaxBandwidth", "MaxBandwidthSpike",
	},
	"Incoming/MMTP": {
		"MaxConnections", "MaxConnectionsPerSource", "ConnectionRate", "TotalConnectionRate", "HandshakeTimeout", "PacketTimeout",
	},
	"Outgoing/MMTP":       {"Retry", "MaxConnections"},
	"Delivery/MBOX":       {"*"},
	"Delivery/SMTP":       {"*"},
	"Delivery/Fragmented": {"*"},
}

// NeedsRestart lists the keys, as "[Section] Key", whose values differ between s and a newer configuration of the same server and which
// cannot change while it runs. Keys that this version does not use change nothing and are not listed.
func (s *Server) NeedsRestart(newer *Server) []string {
	var out []string
	after := newer.Sections()
	for i, section := range s.Sections() {
		if section.Unused != "" {
			continue
		}
		can := live[section.Name]
		for j, k := range section.Keys {
			same := slices.Equal(values(k.To), values(after[i].Keys[j].To))
			if !same && k.Unused == "" && !slices.Contains(can, k.Name) && !slices.Contains(can, "*") {
				out = append(out, fmt.Sprintf("[%s] %s", section.Name, k.Name))
			}
		}
	}
	return out
}
