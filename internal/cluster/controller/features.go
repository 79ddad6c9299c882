package controller

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

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
	// Default is the level of a new cluster.
	Default int16
}

// Features lists what this build supports, by name. A feature is here only if all of it works, for
// clients act on the level that is finalized.
func Features() []Feature {
	return []Feature{
		{GroupVersion, 0, 1, 1},
		{KRaftVersion, 0, 1, 0},
		{MetadataVersion, 7, 30, 30},
		{TransactionVersion, 0, 2, 2},
	}
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

// bootstrapRecords are the first records of a new cluster: the levels of its features.
func bootstrapRecords() []kmsg.Record {
	records := []kmsg.Record{&kmsg.FeatureLevelRecord{Name: MetadataVersion, FeatureLevel: latestMetadata}}
	for _, f := range Features() {
		if f.Name != MetadataVersion && f.Default > 0 {
			records = append(records, &kmsg.FeatureLevelRecord{Name: f.Name, FeatureLevel: f.Default})
		}
	}
	return records
}

// latestMetadata is the metadata version of Apache Kafka 4.3.
const latestMetadata int16 = 30

// incompatibleLevels are the metadata versions that changed records, so that a cluster cannot go
// back from them to one before.
var incompatibleLevels = []int16{8, 11, 13, 14, 15, 17, 23, 30}

// The upgrade types of UpdateFeatures.
const (
	upgradeOnly     int8 = 1
	safeDowngrade   int8 = 2
	unsafeDowngrade int8 = 3
)

// UpdateFeatures changes the finalized levels of features: all that are named, or none.
func (m *Machine) UpdateFeatures(
	version int16, req *kmsg.UpdateFeaturesRequest,
) ([]kmsg.Record, *kmsg.UpdateFeaturesResponse) {
	resp := kmsg.NewUpdateFeaturesResponse()
	resp.ErrorMessage = nil
	var records []kmsg.Record
	for i := range req.FeatureUpdates {
		u := &req.FeatureUpdates[i]
		record, err := m.updateFeature(version, u)
		if err != nil {
			code, msg := Code(err)
			text := "The update failed for all features since the following feature had an error: " + *msg
			resp.ErrorCode, resp.ErrorMessage = code, &text
			return nil, &resp
		}
		if record != nil {
			records = append(records, record)
		}
	}
	if version <= 1 {
		for i := range req.FeatureUpdates {
			resp.Results = append(resp.Results,
				kmsg.UpdateFeaturesResponseUpdatableFeatureResult{Feature: req.FeatureUpdates[i].Feature})
		}
	}
	if req.ValidateOnly {
		records = nil
	}
	return records, &resp
}

func (m *Machine) updateFeature(version int16, u *kmsg.UpdateFeaturesRequestFeatureUpdateKey) (kmsg.Record, error) {
	invalid := func(format string, args ...any) error {
		why := refuse(kerr.InvalidUpdateVersion, format, args...).(*Error).Msg
		return refuse(kerr.InvalidUpdateVersion, "Invalid update version %d for feature %s. %s",
			u.MaxVersionLevel, u.Feature, why)
	}
	kind := u.UpgradeType
	if version == 0 {
		kind = upgradeOnly
		if u.AllowDowngrade {
			kind = safeDowngrade
		}
	}
	features := Features()
	i := slices.IndexFunc(features, func(f Feature) bool { return f.Name == u.Feature })
	now, next := m.image().Feature(u.Feature), u.MaxVersionLevel
	if u.Feature == KRaftVersion && m.cfg.KRaftVersion != nil {
		now = m.cfg.KRaftVersion()
	}
	switch {
	case kind < upgradeOnly || kind > unsafeDowngrade:
		return nil, invalid("The controller does not support the given upgrade type.")
	case next < 0:
		return nil, invalid("A feature version cannot be less than 0.")
	case i < 0:
		return nil, invalid("Local controller %d does not support this feature.", m.cfg.NodeID)
	case next < features[i].Min || next > features[i].Max:
		return nil, invalid("Local controller %d only supports versions %d-%d",
			m.cfg.NodeID, features[i].Min, features[i].Max)
	case next < now && kind == upgradeOnly:
		return nil, invalid("Can't downgrade the version of this feature without setting the upgrade type to either " +
			"safe or unsafe downgrade.")
	case next > now && kind != upgradeOnly:
		return nil, invalid("Can't downgrade to a newer version.")
	case u.Feature == KRaftVersion && next < now:
		return nil, invalid("The voters of this cluster can change, and that stays.")
	case u.Feature == KRaftVersion && next > now:
		return nil, invalid("The voters of this cluster are static, as its version 0 has them.")
	case u.Feature == KRaftVersion:
		return nil, nil
	case u.Feature == MetadataVersion && next < now:
		if slices.ContainsFunc(incompatibleLevels, func(l int16) bool { return l > next && l <= now }) {
			return nil, refuse(kerr.InvalidUpdateVersion, "Unsupported metadata.version downgrade from %d to %d. Refusing to "+
				"perform the requested downgrade because it might delete metadata information.", now, next)
		}
	}
	return &kmsg.FeatureLevelRecord{Name: u.Feature, FeatureLevel: next}, nil
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
