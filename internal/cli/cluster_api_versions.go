package cli

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"
)

type apiVersionRow struct {
	Broker int32  `json:"broker" col:"BROKER,left"`
	Name   string `json:"name" col:"API"`
	Key    int16  `json:"key" col:"KEY"`
	Min    int16  `json:"min_version" col:"MIN"`
	Max    int16  `json:"max_version" col:"MAX"`
	Client int16  `json:"client_max_version" col:"CLIENT-MAX,wide"`
}

func clusterAPIVersionsCmd(a *App) *cobra.Command {
	var broker int32
	c := &cobra.Command{
		Use:     "api-versions",
		Short:   "List the requests that each broker speaks, with their versions",
		Example: examples("", "logstead cluster api-versions --broker 1"),
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cn, err := a.dial(cmd)
			if err != nil {
				return err
			}
			defer cn.close()
			vs, err := call(cn, "cannot read API versions", func(ctx context.Context) (kadm.BrokersApiVersions, error) {
				return cn.ApiVersions(ctx)
			})
			if err != nil {
				return err
			}
			rows := []apiVersionRow{}
			for _, v := range vs.Sorted() {
				if v.Err != nil {
					a.warn("broker %d did not answer: %v", v.NodeID, v.Err)
				} else if broker < 0 || v.NodeID == broker {
					rows = append(rows, apiRows(v)...)
				}
			}
			return a.emit(rows)
		},
	}
	c.Flags().Int32Var(&broker, "broker", -1, "only this broker")
	return c
}

func apiRows(v kadm.BrokerApiVersions) []apiVersionRow {
	var rows []apiVersionRow
	v.EachKeySorted(func(key, low, high int16) {
		row := apiVersionRow{Broker: v.NodeID, Name: kmsg.Key(key).Name(), Key: key, Min: low, Max: high, Client: -1}
		if r := kmsg.RequestForKey(key); r != nil {
			row.Client = r.MaxVersion()
		}
		rows = append(rows, row)
	})
	return rows
}
