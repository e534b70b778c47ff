package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	osuser "os/user"
	"path/filepath"

	"mixminion/client"
	"mixminion/internal/config"
	"mixminion/path"
)

// maxConfig bounds a configuration file.
const maxConfig = config.MaxFileSize

// userHomeDir returns our user's home directory. Mail servers run programs without the variable that says it; then the
// machine's list of users does.
func userHomeDir() (string, error) {
	home, err := os.UserHomeDir()
	if err == nil {
		return home, nil
	}
	if me, failed := osuser.Current(); failed == nil && me.HomeDir != "" {
		return me.HomeDir, nil
	}
	return "", err
}

// user is what the commands of mixminion work with: the configuration and the home directory that it names.
type user struct {
	*client.Client
	cfg *config.Client
}

// openUser reads the configuration (file, or the usual places when file is empty) and opens the home directory. For
// commands that look mixes up it downloads the directory if need be.
func openUser(s *streams, file string) (*user, error) {
	home, err := userHomeDir()
	if err != nil {
		return nil, fmt.Errorf("find your home directory: %w", err)
	}
	cfg, found, err := readClientConfig(file, home)
	if err != nil {
		return nil, err
	}
	for _, w := range cfg.Warnings() {
		s.say("Warning: %s", w)
	}
	dirs, err := directories(&cfg.Directories)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	dir := cfg.User.UserDir.In("", home)
	c, err := client.Open(dir, client.Options{
		Connect: cfg.Network.Timeout.Duration(), NoIPv4: !cfg.Network.IPv4,
		BlockServers: cfg.Security.BlockServers, BlockEntries: cfg.Security.BlockEntries, BlockExits: cfg.Security.BlockExits,
		Directories: dirs, UseOldDirectory: cfg.Directories.UseOldDirectory,
	})
	if err != nil {
		return nil, err
	}
	if !found {
		offerConfig(s, home)
	}
	u := &user{Client: c, cfg: cfg}
	if s.refresh != nil {
		if err := s.refresh(u); err != nil {
			return nil, err
		}
	}
	return u, nil
}

// readClientConfig reads the configuration. found is false if there is none, and the defaults apply.
func readClientConfig(file, home string) (cfg *config.Client, found bool, err error) {
	if file != "" {
		data, err := readLimited(file, maxConfig)
		if err != nil {
			return nil, false, fmt.Errorf("read configuration: %w", err)
		}
		cfg, err = config.ParseClient(data, file)
		return cfg, true, err
	}
	for _, file := range []string{os.Getenv("MIXMINIONRC"), filepath.Join(home, clientConfig), filepath.Join(home, "mixminionrc")} {
		if file == "" {
			continue
		}
		data, err := readLimited(file, maxConfig)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, false, fmt.Errorf("read configuration: %w", err)
		}
		cfg, err = config.ParseClient(data, file)
		return cfg, true, err
	}
	return config.DefaultClient(), false, nil
}

// forwardPath is the path of messages that the user gave on the command line or in the configuration; the zero value if neither.
func (u *user) forwardPath(flag string) (path.Spec, error) {
	return u.pathSpec(flag, "ForwardPath", u.cfg.Security.ForwardPath)
}

// pathSpec is the path that the user gave on the command line or with a key in the configuration; the zero value if neither.
func (u *user) pathSpec(flag, key, configured string) (path.Spec, error) {
	text := flag
	if text == "" {
		// The built-in default is stricter than any path that can be written: it never uses fewer than four different mixes.
		if !u.cfg.Given("Security", key) {
			return path.Spec{}, nil
		}
		text = configured
	}
	spec, err := path.ParseSpec(text)
	if err != nil {
		return path.Spec{}, fmt.Errorf("path %q: %w", text, err)
	}
	return spec, nil
}
