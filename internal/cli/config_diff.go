package cli

import "github.com/spf13/cobra"

type configDifference struct {
	Key   string  `json:"key" col:"KEY"`
	Left  *string `json:"left" col:"LEFT"`
	Right *string `json:"right" col:"RIGHT"`
	Where string  `json:"sources" col:"SOURCES,wide"`
}

func configDiffCmd(a *App) *cobra.Command {
	c := &cobra.Command{
		Use:   "diff KIND LEFT [RIGHT]",
		Short: "Compare the settings of two things, or of one with its defaults",
		Long: `Compare effective settings. With one name, the settings that differ from what the thing would
inherit are listed, with the inherited value on the right.`,
		Example: examples(
			"two topics", "logstead config diff topic orders payments",
			"two brokers", "logstead config diff broker 1 2",
			"a topic and its defaults", "logstead config diff topic orders"),
		Args:              minArgs("KIND", "LEFT"),
		ValidArgsFunction: a.completeConfig,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 3 {
				return usagef("unexpected argument %q", args[3])
			}
			kind, err := parseKind(args[0])
			if err != nil {
				return err
			}
			cn, err := a.dial(cmd)
			if err != nil {
				return err
			}
			defer cn.close()
			rows, err := cn.configDiff(kind, args[1:])
			if err != nil {
				return err
			}
			if len(rows) == 0 {
				a.say("no difference")
			}
			return a.emit(rows)
		},
	}
	return c
}

func (c *conn) configDiff(kind string, names []string) ([]configDifference, error) {
	left, err := c.describeConfigs(kind, names[0], nil, false)
	if err != nil {
		return nil, err
	}
	if len(names) == 1 {
		return diffToInherited(left), nil
	}
	right, err := c.describeConfigs(kind, names[1], nil, false)
	if err != nil {
		return nil, err
	}
	return diffConfigs(left, right), nil
}

func diffToInherited(rows []configRow) []configDifference {
	var out []configDifference
	for _, r := range rows {
		if !isOwn(r) {
			continue
		}
		d := configDifference{Key: r.Key, Left: r.Value, Where: r.Source}
		for _, s := range r.Synonyms {
			if s.Source != r.Source {
				d.Right, d.Where = s.Value, r.Source+" / "+s.Source
				break
			}
		}
		if !sameValue(d.Left, d.Right) {
			out = append(out, d)
		}
	}
	return out
}

func diffConfigs(left, right []configRow) []configDifference {
	byKey := map[string][2]*configRow{}
	for i := range left {
		byKey[left[i].Key] = [2]*configRow{&left[i], nil}
	}
	for i := range right {
		pair := byKey[right[i].Key]
		pair[1] = &right[i]
		byKey[right[i].Key] = pair
	}
	var out []configDifference
	for _, k := range sortedKeys(byKey) {
		l, r := byKey[k][0], byKey[k][1]
		d := configDifference{Key: k, Where: sourceOf(l) + " / " + sourceOf(r)}
		if l != nil {
			d.Left = l.Value
		}
		if r != nil {
			d.Right = r.Value
		}
		if !sameValue(d.Left, d.Right) {
			out = append(out, d)
		}
	}
	return out
}

func sourceOf(r *configRow) string {
	if r == nil {
		return "absent"
	}
	return r.Source
}

func sameValue(a, b *string) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}
