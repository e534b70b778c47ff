package cli

import (
	"fmt"
	"io"
	"os"

	"mixminion/client"
	"mixminion/packet"

	"github.com/spf13/cobra"
)

// maxSURBFile bounds a file of reply blocks.
const maxSURBFile = 64 << 20

func newInspectSURB(s *streams, configFile *string) *cobra.Command {
	return &cobra.Command{
		Use:     "inspect-surb FILE...",
		Aliases: []string{"inspect-surbs"},
		Short:   "Say what can be seen of reply blocks",
		Long: "Says for each reply block how it is named in your log of used ones, when it expires, which\n" +
			"mix its packets go to first, and whether you have used it. More cannot be seen, by anybody.\n" +
			"The files may hold blocks as text or in binary; - is standard input.",
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, files []string) error {
			u, err := openUser(s, *configFile)
			if err != nil {
				return err
			}
			return u.inspectSURBs(s, files)
		},
	}
}

func (u *user) inspectSURBs(s *streams, files []string) error {
	log, err := u.UsedSURBs()
	if err != nil {
		return err
	}
	server, err := u.nicknames()
	if err != nil {
		return err
	}
	failed := 0
	for _, file := range files {
		surbs, err := readSURBFile(s, file)
		if err != nil {
			failed++
			s.warn("%v", err)
			continue
		}
		if _, err := fmt.Fprintf(s.out, "==== %s\n", file); err != nil {
			return err
		}
		for _, b := range surbs {
			if err := printSURB(s, b, log.Used(b.ID()), server); err != nil {
				return err
			}
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %s could not be read", failed, count(len(files), "file"))
	}
	return nil
}

func printSURB(s *streams, b *packet.SURB, used bool, server func(packet.Hop) string) error {
	first, err := b.FirstHop()
	if err != nil {
		return err
	}
	word, digit := "no", 0
	if used {
		word, digit = "yes", 1
	}
	id := b.ID()
	if _, err := fmt.Fprintf(s.out, "Reply block hash: %x\nExpires at: %s\nFirst server is: %s\nUsed: %s\n", id,
		b.Expires.Format("2006-01-02 15:04:05 GMT"), server(first), word); err != nil {
		return err
	}
	return s.status("INSPECT_SURB %x %d %d", id, b.Expires.Unix(), digit)
}

// readSURBFile reads the reply blocks in a file, or in standard input ("-").
func readSURBFile(s *streams, name string) ([]*packet.SURB, error) {
	if name == "-" {
		return readSURBs(s.in, "standard input")
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	surbs, err := readSURBs(f, name)
	if cerr := f.Close(); err == nil && cerr != nil {
		return nil, fmt.Errorf("read %s: %w", name, cerr)
	}
	return surbs, err
}

func readSURBs(r io.Reader, name string) ([]*packet.SURB, error) {
	data, err := readAll(r, name, maxSURBFile)
	if err != nil {
		return nil, err
	}
	surbs, err := client.ReadSURBs(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return surbs, nil
}
