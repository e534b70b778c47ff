package config

import (
	"fmt"
	"strings"
)

// setChoice stores the choice that equals text but for capitals.
func setChoice[T ~string](v *T, text string, choices ...T) error {
	names := make([]string, 0, len(choices))
	for _, c := range choices {
		if strings.EqualFold(string(c), text) {
			*v = c
			return nil
		}
		names = append(names, string(c))
	}
	return fmt.Errorf("%s is none of %s", quote(text), strings.Join(names, ", "))
}

// MixAlgorithm is the rule that picks a batch from the pool.
type MixAlgorithm string

// The batching rules. minion-spec A.1 describes the dynamic pool; the binomial
// one adds a coin toss for each packet, so that an attacker who counts what
// comes out learns less of what is inside.
const (
	Timed               MixAlgorithm = "Timed"
	DynamicPool         MixAlgorithm = "DynamicPool"
	BinomialDynamicPool MixAlgorithm = "BinomialDynamicPool"
)

// Other names under which the rules are known.
const (
	cottrell         MixAlgorithm = "Cottrell"
	mixmaster        MixAlgorithm = "Mixmaster"
	binomial         MixAlgorithm = "Binomial"
	binomialCottrell MixAlgorithm = "BinomialCottrell"

	mixAlgorithmSynonyms = "Cottrell and Mixmaster are other names of DynamicPool, " +
		"Binomial and BinomialCottrell of BinomialDynamicPool."
)

func (v *MixAlgorithm) Set(text string) error {
	var given MixAlgorithm
	err := setChoice(&given, text, Timed, DynamicPool, BinomialDynamicPool,
		cottrell, mixmaster, binomial, binomialCottrell)
	switch given {
	case cottrell, mixmaster:
		given = DynamicPool
	case binomial, binomialCottrell:
		given = BinomialDynamicPool
	}
	if err == nil {
		*v = given
	}
	return err
}
func (v *MixAlgorithm) String() string { return string(*v) }
func (v *MixAlgorithm) Kind() string   { return "name" }

// Mode says whether a mix serves others.
type Mode string

// The modes.
const (
	ModeRelay Mode = "relay"
	ModeLocal Mode = "local"
)

func (v *Mode) Set(text string) error { return setChoice(v, text, ModeRelay, ModeLocal) }
func (v *Mode) String() string        { return string(*v) }
func (v *Mode) Kind() string          { return "name" }

// LogLevel is the least severe kind of line that goes to the log.
type LogLevel string

// The log levels, from the most talkative.
const (
	LogTrace LogLevel = "TRACE"
	LogDebug LogLevel = "DEBUG"
	LogInfo  LogLevel = "INFO"
	LogWarn  LogLevel = "WARN"
	LogError LogLevel = "ERROR"
	LogFatal LogLevel = "FATAL"
	LogNever LogLevel = "NEVER"
)

func (v *LogLevel) Set(text string) error {
	return setChoice(v, text, LogTrace, LogDebug, LogInfo, LogWarn, LogError, LogFatal, LogNever)
}
func (v *LogLevel) String() string { return string(*v) }
func (v *LogLevel) Kind() string   { return "name" }

// LogFormat is the form of the lines of the log.
type LogFormat string

// The forms of the log.
const (
	LogText LogFormat = "text"
	LogJSON LogFormat = "json"
)

func (v *LogFormat) Set(text string) error { return setChoice(v, text, LogText, LogJSON) }
func (v *LogFormat) String() string        { return string(*v) }
func (v *LogFormat) Kind() string          { return "name" }

// TLSMode says how the connection to a mail server is encrypted.
type TLSMode string

const (
	// TLSOff never encrypts.
	TLSOff TLSMode = "off"
	// TLSOpportunistic encrypts, without checking the name, when the server can.
	TLSOpportunistic TLSMode = "opportunistic"
	// TLSRequired asks for STARTTLS, checks the certificate and otherwise gives up.
	TLSRequired TLSMode = "required"
	// TLSImplicit speaks TLS from the first byte and checks the certificate.
	TLSImplicit TLSMode = "implicit"
)

func (v *TLSMode) Set(text string) error {
	return setChoice(v, text, TLSOff, TLSOpportunistic, TLSRequired, TLSImplicit)
}
func (v *TLSMode) String() string { return string(*v) }
func (v *TLSMode) Kind() string   { return "name" }
