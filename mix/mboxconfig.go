package mix

import (
	"fmt"
	"log/slog"
	"strings"
	"time"

	"mixminion/delivery"
	"mixminion/delivery/mail"
	"mixminion/delivery/mbox"
	"mixminion/delivery/optout"
	"mixminion/directory"
	"mixminion/internal/config"
	"mixminion/packet"
)

func mboxExit(c *config.DeliveryMBOX, contact string, paths config.ServerPaths, home string, log *slog.Logger) (ExitConfig, error) {
	base := paths.BaseDir
	users, err := mbox.Open(c.AddressFile.In(base, home), log)
	if err != nil {
		return ExitConfig{}, fmt.Errorf("AddressFile: %w", err)
	}
	form, err := mboxMail(c, contact, base, home)
	if err != nil {
		return ExitConfig{}, err
	}
	transport, err := TransportConfig(&c.Relay, base, home, log)
	if err != nil {
		return ExitConfig{}, err
	}
	unwilling, err := optout.Open(paths.OptOutDir, time.Now, log)
	if err != nil {
		return ExitConfig{}, err
	}
	exit, err := delivery.NewMBOX(delivery.MBOXConfig{
		Users: users.Address, Mail: form, MaximumSize: int(c.SizeLimit()), Blocked: unwilling.Has, TransportConfig: transport,
	})
	if err != nil {
		return ExitConfig{}, err
	}
	x := ExitConfig{Type: packet.TypeMBOX, Exit: exit, Retry: Schedule(c.Retry)}
	if c.Advertise {
		x.Advertise = func(f *directory.Fields) {
			f.MBOX = &directory.Delivery{MaximumSize: int(c.SizeLimit() / config.KB), AllowFrom: c.AllowFromAddress}
		}
	}
	return x, nil
}

// mboxMail returns the form of the mails to users.
func mboxMail(c *config.DeliveryMBOX, contact, base, home string) (mail.Options, error) {
	form, err := MailOptions(&c.Mail, contact, base, home)
	if _, own := form.Templates[mail.TemplateDisclaimer]; !own {
		form.Disclaimer = strings.TrimSpace(form.Disclaimer + " " + takenOff(c))
	}
	return form, err
}

// takenOff tells a user why the mail comes and whom to ask for it to stop.
func takenOff(c *config.DeliveryMBOX) string {
	_, domain, _ := strings.Cut(string(c.ReturnAddress), "@")
	return fmt.Sprintf("This is an anonymous message: who sent it is not known here. You get it because %s has you in its list of users who take such "+
		"messages. To be taken off that list, write to %s.", domain, c.RemoveContact)
}
