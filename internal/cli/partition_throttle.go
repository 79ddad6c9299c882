package cli

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
)

type throttleRow struct {
	Kind     string `json:"kind" col:"KIND"`
	Name     string `json:"name" col:"NAME"`
	Leader   string `json:"leader" col:"LEADER"`
	Follower string `json:"follower" col:"FOLLOWER"`
}

func partitionThrottleCmd(a *App) *cobra.Command {
	return &cobra.Command{
		Use:   "throttle [RATE|off]",
		Short: "Show, change or take off the throttle of replication",
		Long: `Without RATE, list what is throttled: brokers with their rates in bytes a second, topics with the replicas
that they hold for. With RATE, limit what goes on now: all brokers, and the replicas of every reassignment
under way. With off, take every throttle off all brokers and topics, for example after an interrupted move.`,
		Example: examples(
			"", "logstead partition throttle",
			"faster", "logstead partition throttle 100MiB",
			"", "logstead partition throttle off"),
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("unexpected argument %q", args[1]).try("%s --help", cmd.CommandPath())
			}
			return nil
		},
		ValidArgs: []string{"off"},
		RunE: func(cmd *cobra.Command, args []string) error {
			cn, err := a.dial(cmd)
			if err != nil {
				return err
			}
			defer cn.close()
			if len(args) > 0 {
				if err := cn.changeThrottle(args[0]); err != nil {
					return err
				}
			}
			l, err := cn.layout(false)
			if err != nil {
				return err
			}
			rows, err := cn.throttles(l)
			if err != nil {
				return err
			}
			return a.emit(rows)
		},
	}
}

func (c *conn) changeThrottle(arg string) error {
	if err := c.app.guardWrite(); err != nil {
		return err
	}
	rate := int64(0)
	if arg != "off" {
		n, err := parseBytes(arg)
		if err != nil || n < 1 {
			return usagef("%q is neither off nor a rate: want bytes a second, such as 50MiB", arg)
		}
		rate = n
	}
	l, err := c.layout(false)
	if err != nil {
		return err
	}
	if rate == 0 {
		rows, err := c.throttles(l)
		if err != nil {
			return err
		}
		var topics []string
		for _, r := range rows {
			if r.Kind == configTopic {
				topics = append(topics, r.Name)
			}
		}
		return c.unthrottle(l, topics)
	}
	if err := c.throttle(l, l.underWay(func(*layoutPart) bool { return true }), rate); err != nil {
		return err
	}
	var all []int32
	for _, b := range l.brokers {
		all = append(all, b.id)
	}
	return c.setRates(l, all, rate)
}

// throttles lists the brokers and topics with a throttle of their own.
func (c *conn) throttles(l *layout) ([]throttleRow, error) {
	rows := []throttleRow{}
	add := func(kind string, cs kadm.ResourceConfigs, leader, follower string) error {
		for _, rc := range cs {
			if rc.Err != nil {
				return kafkaFault(fmt.Sprintf("cannot read the settings of %s %s", kind, rc.Name), rc.Err, rc.ErrMessage)
			}
			row := throttleRow{Kind: kind, Name: rc.Name}
			for _, cf := range rc.Configs {
				own := cf.Source == 1 || cf.Source == 2 // the topic's, or this broker's
				switch {
				case own && cf.Key == leader:
					row.Leader = cf.MaybeValue()
				case own && cf.Key == follower:
					row.Follower = cf.MaybeValue()
				}
			}
			if row.Leader != "" || row.Follower != "" {
				rows = append(rows, row)
			}
		}
		return nil
	}
	for _, b := range l.brokers {
		if b.fenced {
			continue
		}
		cs, err := call(c, "cannot read the settings of broker "+strconv.Itoa(int(b.id)),
			func(ctx context.Context) (kadm.ResourceConfigs, error) { return c.DescribeBrokerConfigs(ctx, b.id) })
		if err != nil {
			return nil, err
		}
		if err := add(configBroker, cs, leaderRate, followerRate); err != nil {
			return nil, err
		}
	}
	var topics []string
	for i := range l.parts {
		if i == 0 || l.parts[i].topic != l.parts[i-1].topic {
			topics = append(topics, l.parts[i].topic)
		}
	}
	if len(topics) == 0 {
		return rows, nil
	}
	cs, err := call(c, "cannot read topic settings", func(ctx context.Context) (kadm.ResourceConfigs, error) {
		return c.DescribeTopicConfigs(ctx, topics...)
	})
	if err != nil {
		return nil, err
	}
	return rows, add(configTopic, cs, leaderReplicas, followerReplicas)
}
