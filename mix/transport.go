package mix

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"

	"mixminion/delivery"
	"mixminion/internal/config"
)

// TransportConfig says, for delivery.NewTransport, where the mail of an exit goes. It reads the file of the password. base and home are the
// directories that the names of files are relative to.
func TransportConfig(c *config.Relay, base, home string, log *slog.Logger) (delivery.TransportConfig, error) {
	tls, err := delivery.ParseTLSMode(string(c.SMTPTLS))
	if err != nil {
		return delivery.TransportConfig{}, err
	}
	var servers []string
	for _, s := range c.SMTPServer {
		if tls == delivery.TLSImplicit {
			servers = append(servers, s.Address(465))
		} else {
			servers = append(servers, s.Address(25))
		}
	}
	var password []byte
	if file := c.SMTPPasswordFile.In(base, home); file != "" {
		if password, err = os.ReadFile(file); err != nil {
			return delivery.TransportConfig{}, fmt.Errorf("SMTPPasswordFile: %w", err)
		}
	}
	defer clear(password)
	return delivery.TransportConfig{
		Servers: servers, Command: c.SendmailCommand, TLS: tls, CAFile: c.SMTPCAFile.In(base, home),
		Username: c.SMTPUser, Password: delivery.Secret(bytes.TrimRight(password, "\r\n")),
		HelloName: string(c.SMTPHelo), Logger: log,
	}, nil
}
