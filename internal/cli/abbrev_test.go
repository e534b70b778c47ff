package cli

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// abbrevTree is a program with the kinds of options that there are.
func abbrevTree() *cobra.Command {
	root := &cobra.Command{Use: "prog"}
	root.PersistentFlags().StringP("config", "f", "", "")
	root.PersistentFlags().BoolP("quiet", "Q", false, "")
	send := &cobra.Command{Use: "send", Aliases: []string{"post"}, Run: func(*cobra.Command, []string) {}}
	send.Flags().String("subject", "", "")
	send.Flags().String("to", "", "")
	send.Flags().StringP("path", "P", "", "")
	send.Flags().Bool("queue", false, "")
	send.Flags().Bool("no-queue", false, "")
	send.Flags().Bool("subtle", false, "")
	send.Flags().Bool("toward-hidden", false, "")
	send.Flags().Lookup("toward-hidden").Hidden = true
	key := &cobra.Command{Use: "key"}
	show := &cobra.Command{Use: "show", Run: func(*cobra.Command, []string) {}}
	show.Flags().Bool("subject", false, "")
	show.Flags().Bool("fingerprint", false, "")
	key.AddCommand(show)
	root.AddCommand(send, key)
	return root
}

func TestExpandArgs(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"", ""},
		{"send --subj x", "send --subject x"},
		{"send --subj=--pa", "send --subject=--pa"},
		{"send --subj= --pa", "send --subject= --path"},
		{"post --subj --pa", "post --subject --pa"}, // the second is the value of the first
		{"send -P --subj", "send -P --subj"},
		{"send -QP --subj", "send -QP --subj"},
		{"send -Px --subj", "send -Px --subject"},
		{"send -Q --subj", "send -Q --subject"},
		{"send -Z --subj", "send -Z --subject"},
		{"send a --pa=1 b --hel", "send a --path=1 b --help"},
		{"send -- --subj", "send -- --subj"},
		{"send --no --", "send --no-queue --"},
		{"send --queue", "send --queue"},
		{"send --to x", "send --to x"}, // exact, and a hidden option does not count
		{"send --t x", "send --to x"},
		{"send - --pa", "send - --path"},
		{"--conf x send --subj", "--config x send --subject"},
		{"--conf=x send --subj", "--config=x send --subject"},
		{"--conf send key show --fin", "--config send key show --fingerprint"},
		{"-f send key --conf x show --fin", "-f send key --config x show --fingerprint"},
		{"key show --subj --fin", "key show --subject --fingerprint"},
		{"key nonsense --fin", "key nonsense --fin"},
		{"nonsense --fin", "nonsense --fin"},
		{"--qui", "--quiet"},
		{"send --nonsense --subj", "send --nonsense --subject"},
		{"send key --subj", "send key --subject"},
	} {
		root := abbrevTree()
		in := strings.Fields(test.in)
		kept := slices.Clone(in)
		got, err := expandArgs(root, in)
		if err != nil || strings.Join(got, " ") != test.want {
			t.Errorf("%s:\n got %s, %v\nwant %s", test.in, strings.Join(got, " "), err, test.want)
		}
		if !slices.Equal(in, kept) {
			t.Errorf("%s: the arguments were changed", test.in)
		}
	}
	for in, want := range map[string]string{
		"send --sub x":   "--sub is not unique: it can be --subject, --subtle",
		"send --s=x":     "--s is not unique: it can be --subject, --subtle",
		"send --qu":      "--qu is not unique: it can be --queue, --quiet",
		"send --queue=1": "",
	} {
		_, err := expandArgs(abbrevTree(), strings.Fields(in))
		if got := ""; err != nil {
			got = err.Error()
			if got != want {
				t.Errorf("%s: %q, want %q", in, got, want)
			}
		} else if want != "" {
			t.Errorf("%s: no error", in)
		}
	}
}
