package directory

import (
	"errors"
	"math"
	"net/netip"
	"strings"
)

var errPattern = errors.New("not an address pattern such as 192.0.2.0/255.255.255.0 1-48099")

// checkAddressPattern refuses what is no address pattern (dir-spec 2.4). Nobody uses what the patterns say, but the
// first implementation parses them and refuses the whole directory for a malformed one.
func checkAddressPattern(s string) error {
	parts := strings.Fields(s)
	if len(parts) == 0 || len(parts) > 2 {
		return errPattern
	}
	address, mask, masked := strings.Cut(parts[0], "/")
	if masked && (address == "*" || !isIPv4(mask)) || address != "*" && !isIPv4(address) {
		return errPattern
	}
	if len(parts) == 2 {
		low, high, isRange := strings.Cut(parts[1], "-")
		from, err := parseNumber(low, 0, math.MaxUint16)
		if err != nil {
			return errPattern
		}
		if isRange {
			if _, err := parseNumber(high, from, math.MaxUint16); err != nil {
				return errPattern
			}
		}
	}
	return nil
}

func isIPv4(s string) bool {
	ip, err := netip.ParseAddr(s)
	return err == nil && ip.Is4()
}
