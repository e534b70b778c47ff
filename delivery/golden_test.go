package delivery_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mixminion/delivery"
	"mixminion/message"
	"mixminion/packet"
)

var update = flag.Bool("update", false, "write the golden files anew")

// The mails that an exit makes of packets and of whole messages, byte for byte; package mail has those of each form.
func TestGoldenMails(t *testing.T) {
	whole := func(id uint64, text string) delivery.Item {
		it := item(t, id, "", "")
		it.Payload, it.Info, it.Reassembled = nil, []byte("bob@example.com"), message.Compress([]byte(text))
		return it
	}
	several := item(t, 1, "carol@example.net\x00bob@example.com", "FROM:Demo\nIN-REPLY-TO:<1@example.com>\nSUBJECT:Demo subject\n\nHello\n")
	runs := "\n" + strings.Repeat("too often the same\n", 300)
	for name, it := range map[string]delivery.Item{
		"recipients":        several,
		"hostile-headers":   item(t, 2, "bob@example.com", "FROM:\"Eve\" <eve@example.com>\nIN-REPLY-TO:Bcc: eve\nSUBJECT:=?utf-8?q?=0D=0ABcc:_eve?=\nX-OTHER:x\n\nHello\n"),
		"misplaced-headers": item(t, 3, "bob@example.com", "SUBJECT:Demo\nFROM:Out of order\n\nHello\n"),
		"latin-1":           item(t, 4, "bob@example.com", "\nGr\xfc\xdfe\n"),
		"control":           item(t, 5, "bob@example.com", "\n\x1b[2Jboo\n"),
		"line-ends":         item(t, 6, "bob@example.com", "\na\r\nb\rc\n\r-----END TYPE III ANONYMOUS MESSAGE-----\r.\r\n"),
		"empty":             item(t, 7, "bob@example.com", ""),
		"runs":              item(t, 8, "bob@example.com", runs),
		"whole":             whole(9, "FROM:Demo\nSUBJECT:From fragments\n\nHello\n"),
		"whole-runs":        whole(10, runs), // less than 20 KB, and still overcompressed
	} {
		t.Run(name, func(t *testing.T) {
			it.Type = packet.TypeSMTP
			server := startServer(t, nil, nil)
			cfg := config(server.addr)
			cfg.MaximumRecipients = 8
			got, err := deliver(t.Context(), t, newSMTP(t, cfg), []delivery.Item{it})
			if err != nil {
				t.Fatal(err)
			}
			wantOutcomes(t, got, ok)
			mails := server.received()
			if len(mails) != 1 {
				t.Fatalf("%d mails", len(mails))
			}
			file := filepath.Join("testdata", "mails", name+".eml")
			if *update {
				if err := os.WriteFile(file, []byte(mails[0].data), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), mails[0].data); diff != "" {
				t.Errorf("mail (-want +got):\n%s", diff)
			}
		})
	}
}
