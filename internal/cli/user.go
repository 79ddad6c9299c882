package cli

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"sort"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"golang.org/x/term"
)

// userRow is one credential of a user.
type userRow struct {
	Name       string `json:"name" col:"USER"`
	Mechanism  string `json:"mechanism" col:"MECHANISM"`
	Iterations int32  `json:"iterations,omitempty" col:"ITERATIONS"`
	Status     string `json:"status,omitempty" col:"STATUS,wide"`
}

func userCmd(a *App) *cobra.Command {
	c := family("user", "List, create and delete users that log in by SCRAM",
		userListCmd(a), userCreateCmd(a), userDeleteCmd(a))
	c.Long = `List, create and delete the users that the cluster keeps for logins by SCRAM. Users of PLAIN are in the
server's settings: sasl.jaas.config.`
	c.Example = examples("", "logstead user list", "", "logstead user create ana")
	return c
}

// scramNames are the mechanisms by the numbers that the protocol gives them.
var scramNames = map[kadm.ScramMechanism]string{kadm.ScramSha256: "SCRAM-SHA-256", kadm.ScramSha512: "SCRAM-SHA-512"}

func parseScram(name string) (kadm.ScramMechanism, error) {
	for m, n := range scramNames {
		if strings.EqualFold(n, name) {
			return m, nil
		}
	}
	return 0, usagef("--mechanism %q: want SCRAM-SHA-256 or SCRAM-SHA-512", name)
}

func userListCmd(a *App) *cobra.Command {
	return &cobra.Command{
		Use:     "list [USER...]",
		Aliases: []string{"ls"},
		Short:   "List users and how they log in",
		Example: examples("", "logstead user list", "", "logstead user list ana"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return show(a, cmd, func(c *conn) ([]userRow, error) { return c.users(args) })
		},
	}
}

// users are the credentials of these users, of all where none is named.
func (c *conn) users(names []string) ([]userRow, error) {
	all, err := call(c, "cannot list users", func(ctx context.Context) (kadm.DescribedUserSCRAMs, error) {
		return c.DescribeUserSCRAMs(ctx, names...)
	})
	if err != nil && len(all) == 0 {
		return nil, err
	}
	rows := []userRow{}
	for _, u := range all.Sorted() {
		if u.Err != nil {
			return nil, kafkaFault(fmt.Sprintf("cannot read user %q", u.User), u.Err, u.ErrMessage)
		}
		for _, i := range u.CredInfos {
			rows = append(rows, userRow{Name: u.User, Mechanism: scramNames[i.Mechanism], Iterations: i.Iterations})
		}
	}
	sort.Slice(rows, func(i, j int) bool {
		if rows[i].Name != rows[j].Name {
			return rows[i].Name < rows[j].Name
		}
		return rows[i].Mechanism < rows[j].Mechanism
	})
	return rows, nil
}

// known are the mechanisms that a user has a credential of.
func (c *conn) known(user string) ([]kadm.ScramMechanism, error) {
	rows, err := c.users([]string{user})
	if err != nil && kafkaCode(err) != resourceNotFound {
		return nil, err
	}
	var have []kadm.ScramMechanism
	for _, r := range rows {
		m, _ := parseScram(r.Mechanism)
		have = append(have, m)
	}
	return have, nil
}

// resourceNotFound is what an unknown user is answered with.
const resourceNotFound = 91

type userCreateFlags struct {
	mechanism                 string
	iterations                int32
	passwordFile, passwordCmd string
	force                     bool
}

func userCreateCmd(a *App) *cobra.Command {
	fl := userCreateFlags{}
	c := &cobra.Command{
		Use:   "create USER",
		Short: "Create a user that logs in by SCRAM",
		Long: `Create a user. The password is asked for twice, and not shown; without a terminal it comes from a file or a
command. Only keys made of it leave this machine, and the cluster keeps no more than can check a login.`,
		Example: examples(
			"", "logstead user create ana",
			"in a script", "logstead user create ana --password-file secret.txt",
			"another password", "logstead user create ana --force"),
		Args: exactArgs("USER"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.createUser(cmd, args[0], fl) },
	}
	f := c.Flags()
	f.StringVar(&fl.mechanism, "mechanism", "SCRAM-SHA-512", "SCRAM-SHA-256 or SCRAM-SHA-512")
	f.Int32Var(&fl.iterations, "iterations", 8192, "rounds of hashing, 4096 to 16384: more cost who guesses more, and each login")
	f.StringVar(&fl.passwordFile, "password-file", "", "`FILE` whose first line is the password; - is standard input")
	f.StringVar(&fl.passwordCmd, "password-command", "", "shell `COMMAND` that prints the password")
	f.BoolVar(&fl.force, "force", false, "change the password of a user that exists")
	return c
}

func (a *App) createUser(cmd *cobra.Command, user string, fl userCreateFlags) error {
	mechanism, err := parseScram(fl.mechanism)
	if err != nil {
		return err
	}
	if user == "" {
		return usagef("USER is empty")
	}
	if fl.iterations < 4096 || fl.iterations > 16384 {
		return usagef("--iterations %d: want 4096 to 16384", fl.iterations)
	}
	cn, err := a.dialToWrite(cmd)
	if err != nil {
		return err
	}
	defer cn.close()
	have, err := cn.known(user)
	if err != nil {
		return err
	}
	status := "created"
	if slices.Contains(have, mechanism) {
		if status = "changed"; !fl.force {
			f := &Fault{What: fmt.Sprintf("cannot create user %q", user), Why: "it exists with " + scramNames[mechanism], Exit: exitConflict}
			return f.try("--force to change its password")
		}
	}
	password, err := a.newPassword(fl.passwordFile, fl.passwordCmd, "password of "+user)
	if err != nil {
		return err
	}
	row := userRow{Name: user, Mechanism: scramNames[mechanism], Iterations: fl.iterations, Status: status}
	if err := cn.alterUser("cannot create", user, nil, []kadm.UpsertSCRAM{
		{User: user, Mechanism: mechanism, Iterations: fl.iterations, Password: password},
	}); err != nil {
		return err
	}
	return a.emit([]userRow{row})
}

// alterUser changes one credential of a user: a request may name a user only once.
func (c *conn) alterUser(what, user string, del []kadm.DeleteSCRAM, upsert []kadm.UpsertSCRAM) error {
	what = fmt.Sprintf("%s user %q", what, user)
	resps, err := call(c, what, func(ctx context.Context) (kadm.AlteredUserSCRAMs, error) {
		return c.AlterUserSCRAMs(ctx, del, upsert)
	})
	if err != nil {
		return err
	}
	for _, r := range resps {
		if r.Err != nil {
			return kafkaFault(what, r.Err, r.ErrMessage)
		}
	}
	return nil
}

func userDeleteCmd(a *App) *cobra.Command {
	var danger dangerFlags
	var mechanism string
	c := &cobra.Command{
		Use:     "delete USER...",
		Aliases: []string{"rm"},
		Short:   "Delete users",
		Long:    "Delete the credentials of users. Who is logged in stays so until its connection or session ends.",
		Example: examples("", "logstead user delete ana", "one of two mechanisms", "logstead user delete ana --mechanism SCRAM-SHA-256"),
		Args:    minArgs("USER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.deleteUsers(cmd, args, mechanism, danger)
		},
	}
	danger.add(c.Flags())
	c.Flags().StringVar(&mechanism, "mechanism", "", "only this one")
	return c
}

func (a *App) deleteUsers(cmd *cobra.Command, users []string, only string, danger dangerFlags) error {
	if only != "" {
		m, err := parseScram(only)
		if err != nil {
			return err
		}
		only = scramNames[m]
	}
	cn, err := a.dialToWrite(cmd)
	if err != nil {
		return err
	}
	defer cn.close()
	rows, err := cn.users(users)
	if err != nil {
		return err
	}
	rows = slices.DeleteFunc(rows, func(r userRow) bool { return only != "" && r.Mechanism != only })
	if len(rows) == 0 {
		return &Fault{What: "there is nothing to delete", Why: "no such user has a credential of " + only, Exit: exitNotFound}
	}
	for i := range rows {
		rows[i].Status = "would be deleted"
	}
	if danger.dryRun {
		return a.emit(rows)
	}
	if err := a.preview(danger, rows); err != nil {
		return err
	}
	if err := a.confirm(danger, fmt.Sprintf("Delete %s?", countOf(len(rows), "credential")), len(rows)); err != nil {
		return err
	}
	for i := range rows {
		m, _ := parseScram(rows[i].Mechanism)
		if err := cn.alterUser("cannot delete", rows[i].Name, []kadm.DeleteSCRAM{{User: rows[i].Name, Mechanism: m}}, nil); err != nil {
			return err
		}
		rows[i].Status = "deleted"
	}
	return a.emit(rows)
}

// newPassword is a password from a file, from a command, or typed in twice.
func (a *App) newPassword(file, command, of string) (password string, err error) {
	switch {
	case file != "" && command != "":
		return "", usagef("--password-file and --password-command exclude each other")
	case file == "-":
		line, err := bufio.NewReader(a.Stdin).ReadString('\n')
		if password = strings.TrimRight(line, "\r\n"); password == "" && err != nil {
			return "", &Fault{What: "cannot read the password", Why: "standard input is empty", Exit: exitUsage}
		}
	case file != "":
		if password, err = firstLine(file); err != nil {
			return "", &Fault{What: "cannot read the password file", Why: err.Error(), Exit: exitUsage}
		}
	case command != "":
		out, err := exec.CommandContext(a.ctx, "/bin/sh", "-c", command).Output()
		if err != nil {
			return "", &Fault{What: "the password command failed", Why: command + ": " + err.Error(), Exit: exitDenied}
		}
		password = strings.TrimRight(string(out), "\r\n")
	default:
		if password, err = a.typePassword(of); err != nil {
			return "", err
		}
	}
	if password == "" {
		return "", usagef("the password is empty")
	}
	return password, nil
}

// typePassword asks for a password twice, without an echo.
func (a *App) typePassword(of string) (string, error) {
	in, ok := a.Stdin.(*os.File)
	if !ok || !a.StdinTTY || !a.StderrTTY {
		return "", usagef("there is no terminal to ask for the password").try("--password-file FILE or --password-command COMMAND")
	}
	ask := func(prompt string) (string, error) {
		fmt.Fprint(a.Stderr, prompt+": ")
		b, err := term.ReadPassword(int(in.Fd()))
		fmt.Fprintln(a.Stderr)
		return string(b), err
	}
	first, err := ask(of)
	if err != nil {
		return "", asFault("cannot read the password", err)
	}
	again, err := ask("again")
	if err != nil {
		return "", asFault("cannot read the password", err)
	}
	if first != again {
		return "", usagef("the two passwords differ")
	}
	return first, nil
}
