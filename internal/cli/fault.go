package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Fault is an error as a user sees it: what failed, why, and what to try next.
type Fault struct {
	What    string   // "cannot describe topic orders"
	Why     string   // "it does not exist"
	Try     string   // a command or an action, without the word "try"
	Exit    int      // the process exit code
	Kafka   int16    // the Kafka error code, 0 when none
	Similar []string // names close to the one that was not found
	Items   []itemFault
	cause   error
}

// itemFault is the failure of one item of a command that worked on several.
type itemFault struct {
	Name  string `json:"name"`
	Error string `json:"error"`
	Code  int16  `json:"kafka_code,omitempty"`
}

func (f *Fault) Unwrap() error { return f.cause }

// Error is the one-line form: "what; why; did you mean …?; try: …".
func (f *Fault) Error() string {
	parts := []string{f.What}
	if f.Why != "" {
		parts = append(parts, f.Why)
	}
	if s := didYouMean(f.Similar); s != "" {
		parts = append(parts, s)
	}
	if f.Try != "" {
		parts = append(parts, "try: "+f.Try)
	}
	return strings.Join(parts, "; ")
}

// exit is the process exit code of the fault.
func (f *Fault) exit() int {
	if f.Exit == 0 {
		return exitFailed
	}
	return f.Exit
}

// usagef is a mistake on the command line itself.
func usagef(format string, args ...any) *Fault {
	return &Fault{What: fmt.Sprintf(format, args...), Exit: exitUsage}
}

// try adds the next step to a fault.
func (f *Fault) try(format string, args ...any) *Fault {
	f.Try = fmt.Sprintf(format, args...)
	return f
}

// asFault turns any error into a Fault, naming what was being done. A Fault passes through.
func asFault(what string, err error) *Fault {
	if f, ok := errors.AsType[*Fault](err); ok {
		return f
	}
	f := &Fault{What: what, Exit: exitFailed, cause: err}
	if ke, ok := errors.AsType[*kerr.Error](err); ok {
		return f.fromKafka(ke, err)
	}
	f.fromTransport(err)
	return f
}

// kafkaFault is asFault for an error code and the broker's own message, which says more than the
// code does.
func kafkaFault(what string, err error, message string) *Fault {
	f := asFault(what, err)
	if message != "" && f.Kafka != 0 {
		ke := kerr.TypedErrorForCode(f.Kafka)
		f.Why = kafkaName(ke) + ": " + strings.TrimSuffix(message, ".")
	}
	return f
}

func (f *Fault) fromKafka(ke *kerr.Error, err error) *Fault {
	f.Kafka = ke.Code
	f.Exit = exitForKafka(ke)
	text := strings.TrimSuffix(ke.Description, ".")
	if note := explanations[ke.Code]; note.Cause != "" {
		text = strings.TrimSuffix(note.Cause, ".")
	}
	// A wrapped error often carries the broker's message, for instance of a failed login.
	if msg := err.Error(); !strings.HasPrefix(msg, ke.Message) && strings.Contains(msg, ":") && ke.Code == 58 {
		text = strings.TrimSuffix(msg, ".")
	}
	f.Why = kafkaName(ke) + ": " + text
	if f.Try == "" {
		f.Try = explanations[ke.Code].Try
	}
	return f
}

func kafkaName(ke *kerr.Error) string { return fmt.Sprintf("%s (%d)", ke.Message, ke.Code) }

func exitForKafka(ke *kerr.Error) int {
	switch ke.Code {
	case 3, 62, 69, 91, 100, 105:
		return exitNotFound
	case 29, 30, 31, 33, 34, 53, 58, 64, 65:
		return exitDenied
	case 7, 8, 13, 15:
		return exitUnreachable
	case 36, 46, 68, 86, 92:
		return exitConflict
	}
	return exitFailed
}

// fromTransport explains failures below the Kafka protocol.
func (f *Fault) fromTransport(err error) {
	f.Why = trimError(err)
	var (
		dns   *net.DNSError
		op    *net.OpError
		shake *handshakeError
	)
	switch {
	case errors.Is(err, context.Canceled):
		f.Exit, f.Why = exitInterrupted, "interrupted"
	case errors.As(err, &dns):
		f.Exit, f.Why = exitUnreachable, fmt.Sprintf("the name %q does not resolve", dns.Name)
		f.Try = "check the spelling, or logstead doctor " + dns.Name + ":9092"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		f.Exit, f.Why = exitUnreachable, "no answer in time"
		f.Try = "a larger --timeout, or logstead doctor"
	case isFirstReadEOF(err):
		f.Exit, f.Why = exitUnreachable, "the broker closed the connection at the first request; the port probably wants TLS or SASL"
		f.Try = "-X security.protocol=SSL or SASL_SSL, or logstead doctor"
	case errors.As(err, &shake):
		f.Exit, f.Why, f.Try = exitUnreachable, dialReason(
			err), "check ssl.ca.location and the names in the broker's certificate"
	case errors.As(err, &op), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, kgo.ErrClientClosed):
		f.Exit = exitUnreachable
		f.Try = "logstead doctor"
	}
}

func isFirstReadEOF(err error) bool {
	var eof *kgo.ErrFirstReadEOF
	return errors.As(err, &eof)
}

// trimError drops the client library's prefixes, which mean nothing to a user.
func trimError(err error) string {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" && op.Addr != nil {
		return fmt.Sprintf("cannot connect to %s: %s", op.Addr, innermost(op.Err))
	}
	s := strings.TrimPrefix(err.Error(), "unable to dial: ")
	return strings.TrimSuffix(s, ".")
}

// innermost is the text of the deepest error, such as "connection refused".
func innermost(err error) string {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err.Error()
		}
		err = next
	}
}

func didYouMean(names []string) string {
	switch len(names) {
	case 0:
		return ""
	case 1:
		return fmt.Sprintf("did you mean %q?", names[0])
	}
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = fmt.Sprintf("%q", n)
	}
	return "did you mean " + strings.Join(quoted[:len(quoted)-1], ", ") + " or " + quoted[len(quoted)-1] + "?"
}

// printFault writes a fault to stderr, as JSON where the output is JSON.
func (a *App) printFault(f *Fault) {
	if a.jsonErrors() {
		a.printFaultJSON(f)
		return
	}
	fmt.Fprintf(a.Stderr, "%s %s\n", a.paintErr(red, "error:"), f.Error())
	for _, it := range f.Items {
		fmt.Fprintf(a.Stderr, "  %s: %s\n", it.Name, it.Error)
	}
}

func (a *App) printFaultJSON(f *Fault) {
	body := struct {
		Error struct {
			What       string      `json:"what"`
			Why        string      `json:"why,omitempty"`
			Try        string      `json:"try,omitempty"`
			DidYouMean []string    `json:"did_you_mean,omitempty"`
			KafkaError string      `json:"kafka_error,omitempty"`
			KafkaCode  int16       `json:"kafka_code,omitempty"`
			ExitCode   int         `json:"exit_code"`
			Items      []itemFault `json:"items,omitempty"`
		} `json:"error"`
	}{}
	e := &body.Error
	e.What, e.Why, e.Try, e.DidYouMean, e.ExitCode, e.Items = f.What, f.Why, f.Try, f.Similar, f.exit(), f.Items
	if f.Kafka != 0 {
		e.KafkaError, e.KafkaCode = kerr.TypedErrorForCode(f.Kafka).Message, f.Kafka
	}
	enc := json.NewEncoder(a.Stderr)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(body) // stderr is the last resort: there is nowhere left to report to
}
