package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"mixminion/client"

	"github.com/spf13/cobra"
)

type listOptions struct {
	features     []string
	recommended  bool
	listFeatures bool
	noCollapse   bool
	layout       listLayout
}

func newListServers(s *streams, configFile *string) *cobra.Command {
	var o listOptions
	var oldRecommended bool
	cmd := &cobra.Command{
		Use:     "list-servers [NAME...]",
		Aliases: []string{"list-server"},
		Short:   "List the mixes that you know",
		Long: "Lists the mixes that you know, or those named, one on each line: what they can do, and\n" +
			"whether something speaks against using them. With --feature you choose what to see; the\n" +
			"names that --list-features prints can be written in small letters.\n\n" +
			"  mixminion list-servers -T                   and until when\n" +
			"  mixminion list-servers -F caps,fingerprint  their identity keys, to compare with others\n" +
			"  mixminion list-servers -JT -F software      in columns, with the software they run\n\n" +
			"Recommended are the mixes that the directory recommends. Mixes that you have imported count\n" +
			"as recommended only as long as you have no directory; beside one, random paths never use\n" +
			"them. With times, neighbouring lifetimes of one mix that do not differ in what is listed\n" +
			"are joined into one.",
		RunE: func(cmd *cobra.Command, names []string) error {
			if o.listFeatures {
				return printFeatures(s.out)
			}
			o.recommended = o.recommended || oldRecommended
			if o.layout.separator == "" && !cmd.Flags().Changed("separator") {
				o.layout.separator = "\t"
				if o.layout.justify {
					o.layout.separator = " "
				}
			}
			return listServers(s, *configFile, names, o)
		},
	}
	f := cmd.Flags()
	f.StringArrayVarP(&o.features, "feature", "F", nil, "list these `FEATURES`, separated by commas; may be given again (default caps,status)")
	f.BoolVarP(&o.layout.justify, "justify", "J", false, "line up the columns")
	f.BoolVarP(&o.layout.times, "with-time", "T", false, "show from when to when it is so")
	f.BoolVar(&o.noCollapse, "no-collapse", false, "show each descriptor by itself")
	f.BoolVarP(&o.recommended, "recommended", "r", false, "list recommended mixes only, and only what they can do")
	f.BoolVarP(&oldRecommended, "R", "R", false, "the old name of -r")
	f.Lookup("R").Hidden = true
	f.StringVarP(&o.layout.separator, "separator", "s", "", "put `TEXT` between features (default a tab, with --justify a blank)")
	f.BoolVarP(&o.layout.cascade, "cascade", "c", false, "put the lifetimes below the name")
	f.BoolVarP(&o.layout.cascadeFeatures, "cascade-features", "C", false, "put each feature on a line of its own")
	f.BoolVar(&o.listFeatures, "list-features", false, "print the names of all features")
	return cmd
}

func listServers(s *streams, configFile string, names []string, o listOptions) error {
	features, err := chosenFeatures(o)
	if err != nil {
		return err
	}
	u, err := openUser(s, configFile)
	if err != nil {
		return err
	}
	servers, err := u.Servers()
	if err != nil {
		return err
	}
	recommended, err := u.Recommended()
	if err != nil {
		return err
	}
	if len(servers) == 0 && len(names) == 0 {
		s.say("You know no mixes. Add some with mixminion import-server, or download a directory with mixminion update-servers.")
		return nil
	}
	rows, err := client.ListFeatures(servers, client.FeatureQuery{
		Features: features, Names: names, Now: time.Now(),
		Times: o.layout.times || o.layout.cascade && !o.layout.cascadeFeatures, Apart: o.noCollapse,
		Recommended: recommended, OnlyRecommended: o.recommended,
		BlockServers: u.cfg.Security.BlockServers, BlockEntries: u.cfg.Security.BlockEntries, BlockExits: u.cfg.Security.BlockExits,
	})
	if err != nil {
		return err
	}
	_, err = io.WriteString(s.out, o.layout.format(features, rows))
	return err
}

func chosenFeatures(o listOptions) ([]client.Feature, error) {
	if o.features == nil {
		if o.recommended {
			return []client.Feature{client.FeatureCaps}, nil
		}
		return []client.Feature{client.FeatureCaps, client.FeatureStatus}, nil
	}
	var features []client.Feature
	for _, list := range o.features {
		for name := range strings.SplitSeq(list, ",") {
			f, err := client.ParseFeature(strings.TrimSpace(name))
			if err != nil {
				return nil, fmt.Errorf("%w; see mixminion list-servers --list-features", err)
			}
			features = append(features, f)
		}
	}
	return features, nil
}

// featureColumn is the width to which names of features are padded in front of their abbreviation.
const featureColumn = 30

func printFeatures(w io.Writer) error {
	var b strings.Builder
	for _, f := range client.Features() {
		if short := f.Abbreviation(); f.Section != "" && short != f.String() {
			fmt.Fprintf(&b, "%-*s (abbreviate as %s)\n", featureColumn, f, short)
		} else {
			fmt.Fprintf(&b, "%s\n", f)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
