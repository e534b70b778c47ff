package cli

import (
	"context"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"time"

	"mixminion/client"
	"mixminion/internal/store/durable"
)

// vote has the authorities agree on the directory of today, in the night before by the clock of the network, and tells of it.
func (d *demo) vote(ctx context.Context) error {
	for i, n := range d.net.Directories {
		d.print("  authority %d %s  key %s", i+1, n.Addr, n.Authority.Fingerprint())
	}
	for _, n := range d.net.Nodes {
		d.print("  %-11s %s  key %s", n.Nickname, n.Addr, n.Mix.KeyID().Fingerprint())
	}
	ctx, cancel := context.WithTimeout(ctx, demoTimeout)
	defer cancel()
	if err := d.net.AwaitPublished(ctx); err != nil {
		return err
	}
	d.print("\nEach mix has published its descriptor to each authority. Authorities vote from 22:00 to midnight (UTC)\n" +
		"on the directory of the next day; these have gone back to the last night and hurry through it:\n")
	ballots, err := d.net.Vote(ctx, d.clock.Advance)
	if err != nil {
		return err
	}
	for i, b := range ballots {
		d.print("  22:00  authority %d votes for %s", i+1, count(b.Votes, "server"))
	}
	for i, b := range ballots {
		if b.Current == nil {
			return fmt.Errorf("authority %d has no directory that a majority has signed", i+1)
		}
		hash := b.Current.BodyHash()
		d.print("  23:20  authority %d counts %d of %d votes and signs a directory, SHA-256 %s...", i+1, b.Counted, len(ballots), hex.EncodeToString(hash[:8]))
	}
	for i, b := range ballots {
		d.print("  00:00  authority %d publishes it with the signatures of %d of %d", i+1, len(b.Current.Signers), len(ballots))
	}
	d.clock.Wake()
	return nil
}

// download has Alice get the directory.
func (d *demo) download(ctx context.Context, dir string) (err error) {
	if d.user, err = client.Open(filepath.Join(dir, "home"), client.Options{Clock: d.clock, Directories: d.net.Trust()}); err != nil {
		return err
	}
	up, err := d.user.UpdateServers(ctx)
	if err != nil {
		return err
	}
	held := up.Consensus
	d.print("\nAlice downloads the directory of %s. %d of the %d authorities that she trusts have signed it,\n"+
		"and it lists %s.", held.ValidAfter.Format(time.DateOnly), held.Quorum.Signed, held.Quorum.Trusted, count(listed(held), "server"))
	return nil
}

// wait leaves the network to the user until he interrupts.
func (d *demo) wait(ctx context.Context, dir string) error {
	rc := filepath.Join(dir, "mixminionrc")
	text := "[User]\nUserDir: " + filepath.Join(dir, "home") + "\n[DirectoryServers]\nProxy: none\n"
	for _, v := range d.net.Group() {
		text += "Authority: " + v.String() + "\n"
	}
	if err := durable.WriteFile(rc, []byte(text), 0o600); err != nil {
		return err
	}
	d.print("\nThe network goes on running. From another terminal, a home directory that has its directory:\n\n"+
		"  mixminion -f %s list-servers\n"+
		"  echo Hello | mixminion -f %s send -t %s\n\n"+
		"The first authority shows the directory at %s\n"+
		"Mail that arrives is shown here. Ctrl-C ends it all.", rc, rc, demoTo, d.net.Directories[0].URL())
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case m := <-d.sink.Mails:
			file := filepath.Join(dir, fmt.Sprintf("mail-%d", n))
			if err := durable.WriteFile(file, m.Data, 0o600); err != nil {
				return err
			}
			d.print("\nMail for %s; all of it is in %s:\n", m.To, file)
			d.show(m.Data)
		}
	}
}
