package cli

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/logstead/logstead/internal/cluster/controller"
)

// The upgrade types of UpdateFeatures.
const (
	featureUpgrade   int8 = 1
	featureDowngrade int8 = 2
)

// featureFlags are what cluster features upgrade and downgrade are told.
type featureFlags struct {
	release  string
	features []string
	dryRun   bool
	kind     int8
}

// featureChange is what became of a level.
type featureChange struct {
	Name   string `json:"name" col:"FEATURE"`
	Level  int16  `json:"level" col:"LEVEL"`
	Status string `json:"status" col:"STATUS"`
}

func featuresUpgradeCmd(a *App) *cobra.Command {
	f := featureFlags{kind: featureUpgrade}
	c := &cobra.Command{
		Use:   "upgrade",
		Short: "Raise feature levels: all that are named, or none",
		Long: `Raise feature levels while the cluster serves: all that are named, or none.

--release-version raises what logstead knows of a release to its levels, as far as
the brokers support them. Upgrade every node first, and know that most levels of
metadata.version cannot be taken back. kraft.version stays what it is.`,
		Example: examples(
			"look first", "logstead cluster features upgrade --release-version 4.3 --dry-run",
			"one feature", "logstead cluster features upgrade --feature transaction.version=2"),
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.updateFeatures(cmd, f) },
	}
	f.add(c)
	c.Flags().StringVarP(&f.release, "release-version", "r", "", "raise to the levels of this metadata `VERSION`, for instance 4.3")
	return c
}

func featuresDowngradeCmd(a *App) *cobra.Command {
	f := featureFlags{kind: featureDowngrade}
	c := &cobra.Command{
		Use:     "downgrade",
		Short:   "Lower feature levels: all that are named, or none",
		Example: examples("", "logstead cluster features downgrade --feature transaction.version=1"),
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.updateFeatures(cmd, f) },
	}
	f.add(c)
	return c
}

func (f *featureFlags) add(c *cobra.Command) {
	c.Flags().StringArrayVarP(&f.features, "feature", "f", nil, "`NAME=LEVEL`; can be repeated")
	c.Flags().BoolVar(&f.dryRun, "dry-run", false, "let the controller check the request, and change nothing")
}

func (a *App) updateFeatures(cmd *cobra.Command, f featureFlags) error {
	if (f.release == "") == (len(f.features) == 0) {
		return usagef("want either --release-version or --feature")
	}
	if f.kind == featureDowngrade && len(f.features) == 0 {
		return usagef("no --feature is given: want NAME=LEVEL, for instance transaction.version=1")
	}
	metadata, err := controller.ParseRelease(f.release)
	if err != nil {
		return usagef("%s", err.Error())
	}
	return show(a, cmd, func(c *conn) ([]featureChange, error) {
		changes, err := f.wanted()
		if f.release != "" {
			changes, err = c.levelsOf(metadata)
		}
		if err != nil || len(changes) == 0 {
			return changes, err
		}
		return changes, c.updateFeatures(f, changes)
	})
}

// wanted are the levels that are named one by one.
func (f *featureFlags) wanted() (changes []featureChange, err error) {
	for _, text := range f.features {
		name, level, err := parseLevel(text)
		if err != nil {
			return nil, err
		}
		changes = append(changes, featureChange{Name: name, Level: level})
	}
	return changes, nil
}

// levelsOf are the levels of a release that are above those in force, as far as every broker supports them.
func (c *conn) levelsOf(metadata int16) ([]featureChange, error) {
	rows, err := c.features()
	if err != nil {
		return nil, err
	}
	most, now := map[string]int16{}, map[string]int64{}
	for _, r := range rows {
		if limit, ok := most[r.Name]; !ok || r.Max < limit {
			most[r.Name] = r.Max
		}
		if r.Finalized != nil {
			now[r.Name] = *r.Finalized
		}
	}
	changes := []featureChange{}
	for _, f := range controller.Features() {
		level := f.At(metadata)
		if f.Name != controller.MetadataVersion {
			level = min(level, most[f.Name])
		}
		if f.Name != controller.KRaftVersion && int64(level) > now[f.Name] {
			changes = append(changes, featureChange{Name: f.Name, Level: level})
		}
	}
	return changes, nil
}

func (c *conn) updateFeatures(f featureFlags, changes []featureChange) error {
	req := kmsg.NewPtrUpdateFeaturesRequest()
	req.ValidateOnly = f.dryRun
	req.TimeoutMillis = 30_000
	for _, ch := range changes {
		u := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
		u.Feature, u.MaxVersionLevel, u.UpgradeType = ch.Name, ch.Level, f.kind
		req.FeatureUpdates = append(req.FeatureUpdates, u)
	}
	resp, err := call(c, "cannot change features", func(ctx context.Context) (*kmsg.UpdateFeaturesResponse, error) {
		return req.RequestWith(ctx, c.cl)
	})
	if err != nil {
		return err
	}
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return kafkaFault("cannot change features", err, deref(resp.ErrorMessage))
	}
	status := map[int8]string{featureUpgrade: "upgraded", featureDowngrade: "downgraded"}[f.kind]
	if f.dryRun {
		status = "would be " + status
	}
	for i := range changes {
		changes[i].Status = status
	}
	return nil
}
