package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
)

type featureRow struct {
	Name      string `json:"name" col:"FEATURE"`
	Finalized *int64 `json:"finalized" col:"LEVEL"`
	Min       int16  `json:"supported_min" col:"MIN"`
	Max       int16  `json:"supported_max" col:"MAX"`
	Broker    int32  `json:"broker" col:"BROKER,wide,left"`
}

func clusterFeaturesCmd(a *App) *cobra.Command {
	c := &cobra.Command{
		Use:     "features",
		Short:   "List feature levels: what is in force and what the brokers could do",
		Long:    "List the features of the cluster. LEVEL is in force for all brokers; MIN and MAX are what they support.",
		Example: examples("", "logstead cluster features"),
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return show(a, cmd, (*conn).features)
		},
	}
	c.AddCommand(featuresUpgradeCmd(a), featuresDowngradeCmd(a))
	return c
}

func (c *conn) features() ([]featureRow, error) {
	vs, err := call(c, "cannot read API versions", func(ctx context.Context) (kadm.BrokersApiVersions, error) {
		return c.ApiVersions(ctx)
	})
	if err != nil {
		return nil, err
	}
	rows := []featureRow{}
	seen := map[string]bool{}
	for _, v := range vs.Sorted() {
		if v.Err != nil {
			continue
		}
		raw := v.Raw()
		levels := map[string]int64{}
		for _, f := range raw.FinalizedFeatures {
			levels[f.Name] = int64(f.MaxVersionLevel)
		}
		for _, f := range raw.SupportedFeatures {
			row := featureRow{Name: f.Name, Min: f.MinVersion, Max: f.MaxVersion, Broker: v.NodeID}
			if l, ok := levels[f.Name]; ok {
				row.Finalized = &l
			}
			key := fmt.Sprint(row.Name, row.Min, row.Max, row.Finalized == nil)
			if !seen[key] { // brokers that agree are one line
				seen[key] = true
				rows = append(rows, row)
			}
		}
	}
	return rows, nil
}
