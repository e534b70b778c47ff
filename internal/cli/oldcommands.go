package cli

import (
	"time"

	"mixminion/mix"
	"mixminion/mix/oldbase"

	"github.com/spf13/cobra"
)

// The commands of 0.0.8 whose work others do here.

func newDeleteAllKeys(s *streams, configFile *string) *cobra.Command {
	var p passphrase
	cmd := &cobra.Command{
		Use:   "DELKEYS",
		Short: "Destroy all packet keys",
		Long: "Destroys all packet keys with their descriptors and replay logs, and makes a new one. It asks nothing.\n" +
			"Packets that are on their way to this mix are lost, and reply blocks that go through it are dead; to begin\n" +
			"a new key without losing any: keys rotate. The mix may run or not. The identity stays.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := mixConfig(*configFile)
			if err != nil {
				return err
			}
			keys, err := mix.ReadKeys(c)
			if err != nil {
				return err
			}
			var names []string
			for _, k := range keys {
				if time.Now().Before(k.Accepted) { // the mix destroys the others whenever it is opened
					names = append(names, k.Name)
				}
			}
			gone, err := destroyKeys(cmd.Context(), s, *configFile, p, names...)
			if err == nil || gone > 0 {
				s.say("%s deleted.", count(gone, "key"))
			}
			return err
		},
	}
	p.registerStore(cmd)
	return cmd
}

func newUpgrade(s *streams, configFile *string) *cobra.Command {
	return &cobra.Command{
		Use:   "upgrade",
		Short: "Say whether the base directory has to be upgraded",
		Long: "Says whether the base directory has to be upgraded. That of any version of this program never has to: each\n" +
			"start reads what earlier ones wrote. That of a server of 0.0.8 is taken over by mixminiond import.",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			base, err := baseDir(*configFile)
			if err != nil {
				return err
			}
			if oldbase.Is(base) {
				return errOldBase(base)
			}
			s.say("The base directory is current; there is nothing to upgrade.")
			return nil
		},
	}
}
