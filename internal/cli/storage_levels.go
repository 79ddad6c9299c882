package cli

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/logstead/logstead/internal/cluster/controller"
)

// levels are the feature levels that the flags of storage format ask for.
func (f *formatFlags) levels() (map[string]int16, error) {
	set := map[string]int16{}
	for _, text := range f.features {
		name, level, err := parseLevel(text)
		if err != nil {
			return nil, err
		}
		set[name] = level
	}
	levels, err := controller.Levels(f.release, set, f.standalone || f.initial != "" || f.joiner)
	if err != nil {
		return nil, usagef("%s", err.Error()).try("logstead storage version-mapping, or feature-dependencies")
	}
	return levels, nil
}

// parseLevel reads NAME=LEVEL.
func parseLevel(text string) (name string, level int16, err error) {
	name, number, ok := strings.Cut(text, "=")
	n, bad := strconv.ParseInt(strings.TrimSpace(number), 10, 16)
	if !ok || bad != nil || strings.TrimSpace(name) == "" {
		return "", 0, usagef("--feature %q: want NAME=LEVEL, for instance transaction.version=2", text)
	}
	return strings.TrimSpace(name), int16(n), nil
}

// levelRow is a feature and a level of it.
type levelRow struct {
	Name    string `json:"name" col:"FEATURE"`
	Level   int16  `json:"level" col:"LEVEL"`
	Release string `json:"release,omitempty" col:"RELEASE"`
}

func storageMappingCmd(a *App) *cobra.Command {
	var release string
	c := &cobra.Command{
		Use:   "version-mapping",
		Short: "Show the feature levels of a metadata version",
		Long: "Show the feature levels that a cluster of a metadata version begins with.\nkraft.version is 1 only where the voters " +
			"can change (--standalone and its like).",
		Example: examples("", "logstead storage version-mapping --release-version 3.9"),
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			metadata, err := controller.ParseRelease(release)
			if err != nil {
				return usagef("%s", err.Error())
			}
			rows := []levelRow{{Name: controller.MetadataVersion, Level: metadata, Release: controller.ReleaseName(metadata)}}
			for _, f := range controller.Features() {
				if f.Name != controller.MetadataVersion {
					rows = append(rows, levelRow{Name: f.Name, Level: f.At(metadata)})
				}
			}
			return a.emit(rows)
		},
	}
	c.Flags().StringVarP(&release, "release-version", "r", "", "metadata `VERSION`, for instance 3.9 or 3.9-IV0 (default: the newest)")
	return c
}

// dependencyRow is a level of a feature and what it needs.
type dependencyRow struct {
	Name     string `json:"name" col:"FEATURE"`
	Level    int16  `json:"level" col:"LEVEL"`
	Requires string `json:"requires,omitempty" col:"REQUIRES"`
}

func storageDependenciesCmd(a *App) *cobra.Command {
	var features []string
	c := &cobra.Command{
		Use:     "feature-dependencies",
		Short:   "Show which levels of other features a level needs",
		Example: examples("", "logstead storage feature-dependencies --feature transaction.version=2"),
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			if len(features) == 0 {
				return usagef("no --feature is given: want NAME=LEVEL, for instance transaction.version=2")
			}
			rows := make([]dependencyRow, 0, len(features))
			for _, text := range features {
				name, level, err := parseLevel(text)
				if err != nil {
					return err
				}
				needs, at, err := controller.Dependency(name, level)
				if err != nil {
					return usagef("%s", err.Error()).try("logstead storage version-mapping")
				}
				row := dependencyRow{Name: name, Level: level}
				if needs != "" {
					row.Requires = fmt.Sprintf("%s=%d (%s)", needs, at, controller.ReleaseName(at))
				}
				rows = append(rows, row)
			}
			return a.emit(rows)
		},
	}
	c.Flags().StringArrayVarP(&features, "feature", "f", nil, "`NAME=LEVEL`; can be repeated")
	return c
}
