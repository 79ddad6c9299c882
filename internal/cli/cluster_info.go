package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
)

type clusterInfo struct {
	ID         string      `json:"cluster_id"`
	Controller int32       `json:"controller"`
	Version    string      `json:"version_guess,omitempty"`
	Topics     int         `json:"topics"`
	Internal   int         `json:"internal_topics"`
	Partitions int         `json:"partitions"`
	Replicas   int         `json:"replicas"`
	Brokers    []brokerRow `json:"brokers"`
}

type brokerRow struct {
	ID         int32  `json:"id" col:"BROKER,left"`
	Host       string `json:"host" col:"HOST"`
	Port       int32  `json:"port" col:"PORT,left"`
	Rack       string `json:"rack,omitempty" col:"RACK"`
	State      string `json:"state" col:"STATE"` // up or down
	Controller bool   `json:"controller" col:"CONTROLLER"`
	Leaders    int    `json:"leaders" col:"LEADERS"`
	Replicas   int    `json:"replicas" col:"REPLICAS"`
	Bytes      *int64 `json:"bytes" col:"SIZE,bytes"`
	Dirs       int    `json:"log_dirs" col:"DIRS,wide"`
	BadDirs    int    `json:"offline_log_dirs" col:"OFFLINE-DIRS,wide"`
	Free       *int64 `json:"free_bytes" col:"FREE,bytes"`
}

func (ci clusterInfo) sections(bool) []section {
	facts := []fact{{"Cluster", ci.ID}, {"Controller", brokerName(ci.Controller)}}
	if ci.Version != "" {
		facts = append(facts, fact{"Speaks", "Kafka " + ci.Version})
	}
	facts = append(facts,
		fact{"Topics", fmt.Sprintf("%s (and %d internal)", humanCount(int64(ci.Topics)), ci.Internal)},
		fact{"Partitions", fmt.Sprintf("%s, %s with copies", humanCount(int64(ci.Partitions)),
			humanCount(int64(ci.Replicas)))})
	return []section{{facts: facts}, {rows: ci.Brokers}}
}

func brokerName(id int32) string {
	if id < 0 {
		return "none"
	}
	return fmt.Sprintf("broker %d", id)
}

func clusterInfoCmd(a *App) *cobra.Command {
	return &cobra.Command{
		Use:     "info",
		Aliases: []string{"describe"},
		Short:   "Show the cluster's id, brokers, and what they hold",
		Example: examples("", "logstead cluster info", "broker ids alone", "logstead cluster info -o name"),
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return show(a, cmd, (*conn).clusterInfo)
		},
	}
}

func (c *conn) clusterInfo() (clusterInfo, error) {
	md, err := call(c, "cannot read the cluster's metadata", func(ctx context.Context) (kadm.Metadata, error) {
		return c.Metadata(ctx)
	})
	if err != nil {
		return clusterInfo{}, err
	}
	info := clusterInfo{ID: md.Cluster, Controller: md.Controller}
	rows := map[int32]*brokerRow{}
	for _, b := range md.Brokers {
		info.Brokers = append(info.Brokers, brokerRow{ID: b.NodeID, Host: b.Host, Port: b.Port, Rack: deref(b.Rack),
			State: stateUp, Controller: b.NodeID == md.Controller})
	}
	c.addDown(&info)
	for i := range info.Brokers {
		rows[info.Brokers[i].ID] = &info.Brokers[i]
	}
	for _, t := range md.Topics {
		if t.IsInternal {
			info.Internal++
		} else {
			info.Topics++
		}
		info.Partitions += len(t.Partitions)
		for _, p := range t.Partitions {
			info.Replicas += len(p.Replicas)
			if r := rows[p.Leader]; r != nil {
				r.Leaders++
			}
			for _, id := range p.Replicas {
				if r := rows[id]; r != nil {
					r.Replicas++
				}
			}
		}
	}
	c.addDisks(rows)
	c.addVersion(&info)
	return info, nil
}

// addDown lists the brokers that are registered and do not serve: metadata tells clients of the others only. An old
// cluster, or the right to describe it that is missing, leaves them out.
func (c *conn) addDown(info *clusterInfo) {
	all := &layout{}
	if err := c.layoutBrokers(all); err != nil {
		c.app.debug("%v", err)
	}
	for _, b := range all.brokers {
		if b.fenced && !slices.ContainsFunc(info.Brokers, func(r brokerRow) bool { return r.ID == b.id }) {
			info.Brokers = append(info.Brokers, brokerRow{ID: b.id, Host: b.host, Port: b.port, Rack: b.rack, State: stateDown})
		}
	}
	slices.SortFunc(info.Brokers, func(a, b brokerRow) int { return cmp.Compare(a.ID, b.ID) })
}

// addDisks fills what the log directories tell; without the right to ask, the columns stay empty.
func (c *conn) addDisks(rows map[int32]*brokerRow) {
	dirs, err := call(c, "cannot read log directories", func(ctx context.Context) (kadm.DescribedAllLogDirs, error) {
		return c.DescribeAllLogDirs(ctx, nil)
	})
	if err != nil {
		c.app.debug("%v", err)
	}
	dirs.Each(func(d kadm.DescribedLogDir) {
		r := rows[d.Broker]
		if r == nil {
			return
		}
		r.Dirs++
		if d.Err != nil {
			r.BadDirs++
			return
		}
		r.Bytes = addTo(r.Bytes, d.Size())
		if d.UsableBytes >= 0 {
			r.Free = addTo(r.Free, d.UsableBytes)
		}
	})
}

func addTo(sum *int64, n int64) *int64 {
	if sum != nil {
		n += *sum
	}
	return &n
}

func (c *conn) addVersion(info *clusterInfo) {
	vs, err := call(c, "cannot read API versions", func(ctx context.Context) (kadm.BrokersApiVersions, error) {
		return c.ApiVersions(ctx)
	})
	if err != nil {
		c.app.debug("%v", err)
	}
	for _, v := range vs.Sorted() {
		if v.Err == nil {
			info.Version = strings.ReplaceAll(" "+v.VersionGuess(), " v", " ")[1:]
			return
		}
	}
}
