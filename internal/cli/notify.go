package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"
)

// The environment of a service, and the state that it reports when it is ready (sd_notify(3)).
const (
	notifySocket   = "NOTIFY_SOCKET"
	watchdogPeriod = "WATCHDOG_USEC"
	stateReady     = "READY=1"
)

// A serviceManager is told how a daemon does, by the protocol of sd_notify(3). The zero value is nobody.
type serviceManager struct {
	socket   string        // a Unix datagram socket
	watchdog time.Duration // it wants to hear of us within this time; 0: it does not
}

// serviceManagerOf finds out from the environment who started the process pid.
func serviceManagerOf(getenv func(string) string, pid int) serviceManager {
	m := serviceManager{socket: getenv(notifySocket)}
	usec, err := strconv.ParseInt(getenv(watchdogPeriod), 10, 64)
	if owner := getenv("WATCHDOG_PID"); err == nil && usec > 0 && (owner == "" || owner == strconv.Itoa(pid)) {
		m.watchdog = time.Duration(usec) * time.Microsecond
	}
	return m
}

func (m serviceManager) tell(ctx context.Context, state string) (err error) {
	if m.socket == "" {
		return nil
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unixgram", m.socket)
	if err != nil {
		return fmt.Errorf("tell the service manager: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	_, err = conn.Write([]byte(state))
	return err
}

// role tells the service manager that the daemon is ready, and that it ends. In between it tells, if that is wanted, that the daemon is
// alive: whenever alive has returned.
func (m serviceManager) role(alive func()) role {
	return role{run: func(ctx context.Context) error {
		background := context.WithoutCancel(ctx)
		if err := m.tell(background, stateReady); err != nil {
			return err
		}
		var tick <-chan time.Time
		if m.watchdog > 0 {
			t := time.NewTicker(max(m.watchdog/2, time.Millisecond))
			defer t.Stop()
			tick = t.C
		}
		for {
			select {
			case <-ctx.Done():
				_ = m.tell(background, "STOPPING=1") // it will see
				return nil
			case <-tick:
				alive()
				_ = m.tell(background, "WATCHDOG=1") // without it for long, the service manager acts; that is its choice
			}
		}
	}}
}

// thisServiceManager is who started this process.
func thisServiceManager() serviceManager { return serviceManagerOf(os.Getenv, os.Getpid()) }
