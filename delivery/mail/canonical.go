package mail

import "strings"

// Canonical gives mailboxes that lead to one person the same form, for lists and counters: in lower case, and without a tag, which is
// what follows a "+" in the local part. It errs on the side of taking two for one: whoever wants to be left alone must not be reached
// by a mere change of letters. addr is a mailbox that ParseAddress accepts.
func Canonical(addr string) string {
	local, host, _ := strings.Cut(strings.ToLower(addr), "@")
	if i := strings.IndexByte(local, '+'); i > 0 {
		local = local[:i]
	}
	return local + "@" + host
}
