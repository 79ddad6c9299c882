package cli

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
)

func nodeCmd(a *App) *cobra.Command {
	c := family("node", "The nodes of a cluster: list, empty, take out",
		nodeListCmd(a), nodeCordonCmd(a), nodeUncordonCmd(a), nodeDrainCmd(a), nodeDecommissionCmd(a))
	c.Aliases = []string{"nodes", "broker"}
	c.Example = examples(
		"", "logstead node list",
		"empty a broker before work on it", "logstead node drain 3",
		"and fill it again", "logstead node uncordon 3",
		"", "logstead cluster balance --execute",
		"take it out for good", "logstead node decommission 3")
	return c
}

type nodeRow struct {
	ID        int32  `json:"id" col:"NODE,left"`
	State     string `json:"state" col:"STATE"`
	Host      string `json:"host" col:"HOST"`
	Port      *int32 `json:"port" col:"PORT,left"`
	Rack      string `json:"rack,omitempty" col:"RACK"`
	Quorum    string `json:"quorum,omitempty" col:"QUORUM"`
	Leaders   int    `json:"leaders" col:"LEADERS"`
	Preferred int    `json:"preferred_leaders" col:"PREFERRED,wide"`
	Replicas  int    `json:"replicas" col:"REPLICAS"`
	InSync    int    `json:"in_sync" col:"IN-SYNC,wide"`
	Moving    int    `json:"moving" col:"MOVING"`
	Bytes     int64  `json:"bytes" col:"SIZE,bytes"`
	Free      *int64 `json:"free_bytes" col:"FREE,bytes"`
	Dirs      int    `json:"log_dirs" col:"DIRS,wide"`
	BadDirs   int    `json:"offline_log_dirs" col:"OFFLINE-DIRS,wide"`
}

func nodeListCmd(a *App) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List nodes with state, leaders, replicas and space",
		Long: `List the nodes of the cluster. STATE is "up", "cordoned" (keeps what it has and gets nothing more), "down"
(it is registered and does not serve), "controller" (it is no broker) or "no broker" (it follows the quorum,
or did lately). QUORUM is its part in the metadata's quorum: leader, voter or observer. MOVING counts replicas
that come to it or leave it.`,
		Example: examples("", "logstead node list", "", "logstead node list -o wide"),
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cn, err := a.dial(cmd)
			if err != nil {
				return err
			}
			defer cn.close()
			l, err := cn.layout(true)
			if err != nil {
				return err
			}
			q, err := cn.quorum()
			if err != nil {
				a.debug("the quorum is not known: %v", err) // an old cluster, or no right to ask
			}
			return a.emit(nodeRows(l, q))
		},
	}
}

func nodeRows(l *layout, q quorumInfo) []nodeRow {
	rows := []nodeRow{}
	for i := range l.brokers {
		b := &l.brokers[i]
		row := nodeRow{
			ID: b.id, State: b.state(), Host: b.host, Port: &b.port, Rack: b.rack, Free: b.free, Dirs: b.dirs, BadDirs: b.badDirs,
		}
		for j := range l.parts {
			row.count(&l.parts[j])
		}
		if n := q.node(b.id); n != nil {
			row.Quorum = n.Role
		}
		rows = append(rows, row)
	}
	for _, n := range q.Nodes {
		if l.broker(n.ID) != nil {
			continue
		}
		row := nodeRow{ID: n.ID, State: "controller", Quorum: n.Role, Host: n.Endpoint}
		if n.Role == "observer" { // it may be gone: the quorum forgets those that follow after a while
			row.State = "no broker"
		}
		rows = append(rows, row)
	}
	slices.SortStableFunc(rows, func(a, b nodeRow) int { return int(a.ID) - int(b.ID) })
	return rows
}

// What nodes and brokers are called that serve, and that do not.
const (
	stateUp   = "up"
	stateDown = "down"
)

func (b *layoutBroker) state() string {
	switch {
	case b.fenced:
		return stateDown
	case !b.takesReplicas() && b.cordoned > 0:
		return "cordoned"
	case !b.takesReplicas():
		return "no log directory"
	}
	return stateUp
}

// count adds what the node has of a partition.
func (r *nodeRow) count(p *layoutPart) {
	if p.leader == r.ID {
		r.Leaders++
	}
	if !slices.Contains(p.replicas, r.ID) {
		return
	}
	r.Replicas++
	if p.replicas[0] == r.ID {
		r.Preferred++
	}
	if slices.Contains(p.isr, r.ID) {
		r.InSync++
	}
	if slices.Contains(p.adding, r.ID) || slices.Contains(p.removing, r.ID) {
		r.Moving++
	}
	r.Bytes += p.sizes[r.ID]
}

// cordonKey names the log directories of a broker that take no more replicas (KIP-1066).
const cordonKey = "cordoned.log.dirs"

type cordonRow struct {
	ID     int32  `json:"id" col:"NODE,left"`
	Status string `json:"status" col:"STATUS"`
}

func nodeCordonCmd(a *App) *cobra.Command {
	return cordonCmd(a, true, &cobra.Command{
		Use:   "cordon NODE",
		Short: "Let a broker get no more replicas; it keeps what it has",
		Long: `Cordon all log directories of a broker: new topics, new partitions and moves pass it by, what it has stays.
It needs a cluster that knows cordoned.log.dirs (Kafka 4.3).`,
		Example: examples("", "logstead node cordon 3"),
	})
}

func nodeUncordonCmd(a *App) *cobra.Command {
	return cordonCmd(a, false, &cobra.Command{
		Use:     "uncordon NODE",
		Short:   "Let a broker get replicas again",
		Example: examples("", "logstead node uncordon 3"),
	})
}

func cordonCmd(a *App, on bool, c *cobra.Command) *cobra.Command {
	c.Args = exactArgs("NODE")
	c.ValidArgsFunction = a.completeBrokers
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if err := a.guardWrite(); err != nil {
			return err
		}
		id, err := parseBroker(args[0])
		if err != nil {
			return err
		}
		cn, err := a.dial(cmd)
		if err != nil {
			return err
		}
		defer cn.close()
		l := &layout{}
		if err := cn.layoutBrokers(l); err != nil {
			return err
		}
		if err := l.needBroker(id); err != nil {
			return err
		}
		if err := cn.cordon(id, on); err != nil {
			return err
		}
		row := cordonRow{ID: id, Status: "uncordoned"}
		if on {
			row.Status = "cordoned"
		}
		return a.emit([]cordonRow{row})
	}
	return c
}

func (c *conn) cordon(id int32, on bool) error {
	op, what := setTo(cordonKey, "*"), fmt.Sprintf("cannot cordon broker %d", id)
	if !on {
		op, what = unset(cordonKey), fmt.Sprintf("cannot uncordon broker %d", id)
	}
	return alterOne(c, what, c.AlterBrokerConfigs, []kadm.AlterConfig{op}, id)
}
