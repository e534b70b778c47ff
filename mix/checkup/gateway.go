package checkup

import (
	"os"
	"path/filepath"
)

// gateway looks whether mail for the gateway can come in.
func (c *checker) gateway() {
	const about = "gateway"
	g := &c.cfg.Gateway
	if !g.Enabled {
		return
	}
	dir := g.Maildir.In(c.paths.BaseDir, c.home)
	if dir == "" {
		c.add(Note, about, "", "have the mail server hand the mail of %s to mixminiond gateway, or to LMTPListen", g.Address)
		return
	}
	info, err := os.Stat(filepath.Join(dir, "new"))
	switch {
	case err != nil:
		c.add(Problem, about, "make the Maildir, for instance with maildirmake, and let the user that runs the mix change it", "%v", err)
	case !info.IsDir():
		c.add(Problem, about, "write a Maildir as Maildir in [Gateway]", "%s is no Maildir", dir)
	default:
		c.add(OK, about, "", "mail of %s is taken from %s", g.Address, dir)
	}
}
