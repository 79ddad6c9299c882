package controller

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// The names of the features that this build knows.
const (
	MetadataVersion    = "metadata.version"
	KRaftVersion       = "kraft.version"
	TransactionVersion = "transaction.version"
	GroupVersion       = "group.version"
	elrVersion         = "eligible.leader.replicas.version"
)

// Feature is a feature that this build supports at a range of levels.
type Feature struct {
	Name     string
	Min, Max int16
	// Default is the level of a new cluster from the metadata.version From on; below that it is 0.
	Default, From int16
	// Needs is the metadata.version without which no level above 0 can be; 0 for none.
	Needs int16
}

// Features lists what this build supports, by name. A feature is here only if all of it works, for
// clients act on the level that is finalized.
func Features() []Feature {
	return []Feature{
		{Name: elrVersion, Max: 1, Default: 1, From: 26, Needs: levelELR},
		{Name: GroupVersion, Max: 1, Default: 1, From: 22},
		{Name: KRaftVersion, Max: 1, Default: 1, From: 21},
		{Name: MetadataVersion, Min: oldestMetadata, Max: latestMetadata},
		{Name: TransactionVersion, Max: 2, Default: 2, From: 24},
	}
}

// At is the level that a cluster of that metadata.version begins with.
func (f Feature) At(metadata int16) int16 {
	switch {
	case f.Name == MetadataVersion:
		return metadata
	case metadata >= f.From:
		return f.Default
	}
	return 0
}

// check says why a level cannot be in force beside a metadata.version.
func (f Feature) check(level, metadata int16) error {
	if level > 0 && metadata < f.Needs {
		return fmt.Errorf("%s could not be set to %d because it depends on %s level %d", f.Name, level, MetadataVersion, f.Needs)
	}
	return nil
}

func featureOf(name string) (Feature, bool) {
	features := Features()
	i := slices.IndexFunc(features, func(f Feature) bool { return f.Name == name })
	if i < 0 {
		return Feature{}, false
	}
	return features[i], true
}

// The metadata versions of Apache Kafka 3.3, the oldest that 4.x begins a cluster with, and of 4.3.
const (
	oldestMetadata int16 = 7
	latestMetadata int16 = 30
)

// releases are the names of the levels of metadata.version from oldestMetadata on.
var releases = []string{
	"3.3-IV3", "3.4-IV0", "3.5-IV0", "3.5-IV1", "3.5-IV2", "3.6-IV0", "3.6-IV1", "3.6-IV2", "3.7-IV0", "3.7-IV1", "3.7-IV2",
	"3.7-IV3", "3.7-IV4", "3.8-IV0", "3.9-IV0", "4.0-IV0", "4.0-IV1", "4.0-IV2", "4.0-IV3", "4.1-IV0", "4.1-IV1", "4.2-IV0",
	"4.2-IV1", "4.3-IV0",
}

// ReleaseName is the name of a metadata.version that this build supports.
func ReleaseName(level int16) string { return releases[level-oldestMetadata] }

// ParseRelease is the metadata.version of a name such as 3.9-IV0; 3.9 is the last of 3.9, and the empty name the newest.
func ParseRelease(name string) (int16, error) {
	if name == "" {
		return latestMetadata, nil
	}
	for i, r := range slices.Backward(releases) {
		if short, _, _ := strings.Cut(r, "-"); r == name || short == name {
			return oldestMetadata + int16(i), nil
		}
	}
	return 0, fmt.Errorf("Unknown %s '%s'. Supported %s are: %s", MetadataVersion, name, MetadataVersion, strings.Join(releases, ", ")) //nolint:staticcheck // Kafka's words
}

// Levels are the levels that a new cluster begins with: those of a release, and of them some as set says. Dynamic says
// that its voters can change. The rules and the words are those of kafka-storage format.
func Levels(release string, set map[string]int16, dynamic bool) (map[string]int16, error) {
	metadata, err := ParseRelease(release)
	if err != nil {
		return nil, err
	}
	if level, ok := set[MetadataVersion]; ok {
		if release != "" {
			return nil, fmt.Errorf("use --release-version instead of --feature %s=X to avoid ambiguity", MetadataVersion)
		}
		if level < oldestMetadata || level > latestMetadata {
			return nil, fmt.Errorf("no %s with feature level %d: valid feature levels are from %d to %d",
				MetadataVersion, level, oldestMetadata, latestMetadata)
		}
		metadata = level
	}
	for _, name := range slices.Sorted(maps.Keys(set)) {
		if _, ok := featureOf(name); !ok {
			return nil, fmt.Errorf("unsupported feature: %s. Supported features are: %s", name, strings.Join(featureNames(), ", "))
		}
	}
	levels := map[string]int16{}
	for _, f := range Features() {
		level, given := set[f.Name]
		switch {
		case f.Name == MetadataVersion:
			level = metadata
		case f.Name == KRaftVersion:
			if level, err = kraftLevel(level, given, dynamic); err != nil {
				return nil, err
			}
		case !given:
			level = f.At(metadata)
		}
		if level < f.Min || level > f.Max {
			return nil, fmt.Errorf("no feature %s with feature level %d: valid feature levels are from %d to %d", f.Name, level, f.Min, f.Max)
		}
		if err := f.check(level, metadata); err != nil {
			return nil, err
		}
		levels[f.Name] = level
	}
	return levels, nil
}

// kraftLevel is the level of kraft.version, which is what kind of voters there are.
func kraftLevel(level int16, given, dynamic bool) (int16, error) {
	switch {
	case given && level == 0 && dynamic:
		return 0, fmt.Errorf("cannot set %s to 0 if controller.quorum.voters is empty and one of the flags --standalone, "+
			"--initial-controllers, or --no-initial-controllers is used", KRaftVersion)
	case given && level != 0 && !dynamic:
		return 0, fmt.Errorf("cannot set %s to %d unless controller.quorum.voters is empty and one of the flags --standalone, "+
			"--initial-controllers, or --no-initial-controllers is used", KRaftVersion, level)
	case given:
		return level, nil
	case dynamic:
		return 1, nil
	}
	return 0, nil
}

// featureNames are those that can be set beside metadata.version.
func featureNames() (names []string) {
	for _, f := range Features() {
		if f.Name != MetadataVersion {
			names = append(names, f.Name)
		}
	}
	return names
}

// Dependency is what a level of a feature needs: Level of Feature; ok is false where it needs nothing. An error says that
// there is no such level.
func Dependency(name string, level int16) (needs string, at int16, err error) {
	f, ok := featureOf(name)
	switch {
	case !ok:
		return "", 0, fmt.Errorf("Unknown feature: %s", name) //nolint:staticcheck // Kafka's words
	case name == MetadataVersion && (level < f.Min || level > f.Max):
		return "", 0, fmt.Errorf("Unknown %s %d", name, level) //nolint:staticcheck // Kafka's words
	case level < f.Min || level > f.Max:
		return "", 0, fmt.Errorf("Feature level %d is not supported for feature %s", level, name) //nolint:staticcheck // Kafka's words
	case level > 0 && f.Needs > 0:
		return MetadataVersion, f.Needs, nil
	}
	return "", 0, nil
}

// Finalized are the levels of an image that this build can honour. A data directory of Apache Kafka
// may have others; they stay in the metadata, and nobody is told of them.
func Finalized(im *meta.Image) map[string]int16 {
	out := map[string]int16{}
	for _, f := range Features() {
		if level := im.Feature(f.Name); level > 0 {
			out[f.Name] = min(level, f.Max)
		}
	}
	return out
}

// bootstrapRecords are the first records of a new cluster: the levels of its features. The quorum's own version is not
// metadata.
func bootstrapRecords(levels map[string]int16) []kmsg.Record {
	records := []kmsg.Record{&kmsg.FeatureLevelRecord{Name: MetadataVersion, FeatureLevel: levels[MetadataVersion]}}
	for _, name := range slices.Sorted(maps.Keys(levels)) {
		if name != MetadataVersion && name != KRaftVersion && levels[name] > 0 {
			records = append(records, &kmsg.FeatureLevelRecord{Name: name, FeatureLevel: levels[name]})
		}
	}
	return records
}

// newestLevels are what a cluster begins with that was not formatted.
func newestLevels() map[string]int16 {
	levels, _ := Levels("", nil, false) // without wishes it cannot fail
	return levels
}

// recordVersion is the version that a record is written at under the finalized metadata.version:
// an Apache Kafka of that version must be able to read the log.
func recordVersion(rec kmsg.Record, level int16) (version int16) {
	since := func(from int16) { // the level from which on there is one version more
		if level >= from {
			version++
		}
	}
	switch rec.(type) {
	case *kmsg.RegisterBrokerRecord:
		version = 1
		since(levelMigration)
		since(levelDirectories)
		since(levelCordoned)
	case *kmsg.BrokerRegistrationChangeRecord:
		version = 1
		since(levelDirectories)
		since(levelCordoned)
	case *kmsg.PartitionRecord, *kmsg.PartitionChangeRecord:
		since(levelDirectories)
		since(levelELR)
	default:
	}
	return version
}
