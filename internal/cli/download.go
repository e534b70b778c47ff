package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"mixminion/dirclient"
	"mixminion/directory"
	"mixminion/internal/config"

	"github.com/spf13/cobra"
)

// usesDirectory names the commands that look mixes up, and says whether they are of no use without a directory when there could be one.
var usesDirectory = map[string]bool{
	"send": true, "queue": true, "generate-surb": true, "list-servers": true,
	"inspect-queue": false, "import-server": false, "ping": false, "list-fragments": false,
}

// A downloadMode says when a command downloads the directory first.
type downloadMode int

const (
	downloadDue    downloadMode = iota // if none was downloaded since midnight UTC
	downloadNever                      // -D no
	downloadAlways                     // -D yes, -D force
)

// addDownload gives --download-directory to those of a program's commands that look mixes up.
func addDownload(root *cobra.Command, s *streams) {
	for _, cmd := range root.Commands() {
		needed, uses := usesDirectory[cmd.Name()]
		if !uses || cmd.Flags().Lookup("download-directory") != nil {
			continue
		}
		value := cmd.Flags().StringP("download-directory", "D", "",
			"download the directory first, `yes|no`; by default if none was downloaded since midnight (UTC)")
		next := cmd.PreRunE
		cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
			mode := downloadDue
			if cmd.Flags().Changed("download-directory") {
				var err error
				if mode, err = parseDownload(*value); err != nil {
					return err
				}
			}
			s.refresh = func(u *user) error { return u.refresh(cmd.Context(), s, mode, needed) }
			if next == nil {
				return nil
			}
			return next(cmd, args)
		}
	}
}

// parseDownload reads the value of --download-directory, in all the ways in which it may be written.
func parseDownload(value string) (downloadMode, error) {
	switch strings.ToLower(value) {
	case "no", "n", "false", "f", "0":
		return downloadNever, nil
	case "yes", "y", "true", "t", "1", "force":
		return downloadAlways, nil
	}
	return 0, fmt.Errorf("--download-directory: %q is neither yes nor no", value)
}

// refresh downloads the directory if the user wants that or if it is time, and says what there is to say about the one
// that is then held. A download that fails is no error if there is a directory that can be used all the same or none is
// needed, unless the user asked for the download.
func (u *user) refresh(ctx context.Context, s *streams, mode downloadMode, needed bool) error {
	if mode == downloadAlways || mode == downloadDue && u.UpdateDue() && !u.agentDownloads(ctx) {
		s.detail("Downloading the directory.")
		up, err := u.UpdateServers(ctx)
		switch {
		case err == nil:
			tellUpdate(s, up)
		case ctx.Err() != nil || mode == downloadAlways:
			return err
		default:
			if needed && !u.holdsUsable() {
				return fmt.Errorf("%w. With --download-directory no, nothing is downloaded", err)
			}
			s.say("Warning: %v", err)
		}
	}
	held, err := u.Directory()
	if held == nil || errors.Is(err, dirclient.ErrHeld) {
		return nil // those who need it will say so
	}
	if err != nil {
		return err
	}
	for _, w := range held.Warnings(time.Now(), held.ClientVersions, Version) {
		s.say("Warning: %s.", w)
	}
	return nil
}

// agentDownloads reports whether a newer directory can be left to the agent: it runs, so that the time of the download
// says nothing about the user, and what is held can be used until then.
func (u *user) agentDownloads(ctx context.Context) bool {
	if !u.holdsUsable() {
		return false
	}
	a, err := u.dialAgent(ctx)
	return err == nil && a != nil && a.Close() == nil
}

func (u *user) holdsUsable() bool {
	held, err := u.Directory()
	return held != nil && err == nil && u.DirectoryUsable() == nil
}

// tellUpdate says what a download brought to light beside the directory.
func tellUpdate(s *streams, up *dirclient.Update) {
	for _, skew := range up.Skews {
		s.say("Warning: %v.", skew)
	}
	for _, f := range up.Failures {
		if errors.Is(f, dirclient.ErrFork) {
			s.warn("%v. One of the two is meant for you alone: tell others, and do not send.", f)
		} else {
			s.detail("%v", f)
		}
	}
}

func newUpdateServers(s *streams, configFile *string) *cobra.Command {
	return &cobra.Command{
		Use:   "update-servers",
		Short: "Download the directory of mixes",
		Long: "Downloads the directory: the list of mixes that the directory authorities have agreed on\n" +
			"and signed. It counts only if more than half of the authorities that you trust have\n" +
			"signed it; you name them in the section [DirectoryServers] of your configuration, with\n" +
			"a line Authority: FINGERPRINT URL for each. It is tried at several places, in random\n" +
			"order, and what you hold is never replaced by anything older.\n\n" +
			"Commands that need the directory download it themselves, once in a day.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			u, err := openUser(s, *configFile)
			if err != nil {
				return err
			}
			up, err := u.UpdateServers(cmd.Context())
			if errors.Is(err, dirclient.ErrNoAuthorities) {
				return fmt.Errorf("%w. Mixes that you have descriptors of can be added with mixminion import-server", err)
			}
			if err != nil {
				return err
			}
			tellUpdate(s, up)
			sayHeld(s, up)
			return nil
		},
	}
}

func sayHeld(s *streams, up *dirclient.Update) {
	d, news := up.Consensus, "Directory updated: it is"
	if !up.New {
		news = "The directory that you have is the newest: it is"
	}
	s.say("%s that of %s, and lists %s.", news, d.ValidAfter.Format(time.DateOnly), count(listed(d), "server"))
	s.say("%d of the %d authorities that you trust have signed it.", d.Quorum.Signed, d.Quorum.Trusted)
	for _, missing := range d.MissingSigners() {
		s.say("Not signed by %s.", missing)
	}
	for _, w := range d.Warnings(time.Now(), d.ClientVersions, Version) {
		s.say("Warning: %s.", w)
	}
}

// listed counts the servers of a directory, which may have several descriptors each.
func listed(d *dirclient.Consensus) int {
	names := map[string]bool{}
	for _, s := range d.Servers {
		names[strings.ToLower(s.Nickname)] = true
	}
	return len(names)
}

// directories makes of a user's configuration where the directory comes from.
func directories(c *config.ClientDirectories) (dirclient.Options, error) {
	o := dirclient.Options{Mirrors: c.ServerURL, Fetch: dirclient.FetchOptions{Timeout: c.DirectoryTimeout.Duration()}}
	var err error
	if o.Fetch.Proxy, err = dirclient.DecideProxy(c.Proxy, os.Getenv); err != nil {
		return o, fmt.Errorf("[DirectoryServers] Proxy: %w", err)
	}
	if len(c.Authority) == 0 {
		o.Trusted, err = dirclient.Builtin()
		return o, err
	}
	for _, a := range c.Authority {
		o.Trusted = append(o.Trusted, directory.Authority{Fingerprint: a.Fingerprint, URLs: []string{string(a.URL)}})
	}
	return o, nil
}
