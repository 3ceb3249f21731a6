// Command terraform-provider-aws stands in for the AWS provider where there is no account and no way to its registry. It
// says what the provider's schema is, so that `validate` can check names and types, and plans as if nothing were there yet,
// so that `test` can look at the plan. It never speaks with AWS and can create nothing.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6/tf6server"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// schemas is what extract.py prints.
type schemas struct {
	Resources   map[string]block `json:"resource_schemas"`
	DataSources map[string]block `json:"data_source_schemas"`
	Ephemerals  map[string]block `json:"ephemeral_resource_schemas"`
}

type block struct {
	Attributes map[string]attribute `json:"attributes"`
	Blocks     map[string]nested    `json:"block_types"`
}

type attribute struct {
	Type      json.RawMessage `json:"type"`
	Required  bool            `json:"required"`
	Optional  bool            `json:"optional"`
	Computed  bool            `json:"computed"`
	WriteOnly bool            `json:"write_only"`
}

type nested struct {
	Nesting  string `json:"nesting_mode"`
	MinItems int64  `json:"min_items"`
	MaxItems int64  `json:"max_items"`
	Block    block  `json:"block"`
}

var nestings = map[string]tfprotov6.SchemaNestedBlockNestingMode{
	"single": tfprotov6.SchemaNestedBlockNestingModeSingle,
	"list":   tfprotov6.SchemaNestedBlockNestingModeList,
	"set":    tfprotov6.SchemaNestedBlockNestingModeSet,
	"map":    tfprotov6.SchemaNestedBlockNestingModeMap,
}

func (b block) schema() (*tfprotov6.SchemaBlock, error) {
	out := &tfprotov6.SchemaBlock{}
	for name, from := range b.Attributes {
		kind, err := tftypes.ParseJSONType(from.Type) //nolint:staticcheck // the only reader of this notation there is
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out.Attributes = append(out.Attributes, &tfprotov6.SchemaAttribute{
			Name: name, Type: kind, Required: from.Required, Optional: from.Optional, Computed: from.Computed, WriteOnly: from.WriteOnly,
		})
	}
	for name, from := range b.Blocks {
		inner, err := from.Block.schema()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out.BlockTypes = append(out.BlockTypes, &tfprotov6.SchemaNestedBlock{
			TypeName: name, Block: inner, Nesting: nestings[from.Nesting], MinItems: from.MinItems, MaxItems: from.MaxItems,
		})
	}
	return out, nil
}

func all(from map[string]block) (map[string]*tfprotov6.Schema, error) {
	out := map[string]*tfprotov6.Schema{}
	for name, from := range from {
		inner, err := from.schema()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out[name] = &tfprotov6.Schema{Block: inner}
	}
	return out, nil
}

// standIn answers what `validate` and a `test` that only plans ask. The interface it embeds is nil: anything else is a
// crash, not a silent success.
type standIn struct {
	tfprotov6.ProviderServer
	answer *tfprotov6.GetProviderSchemaResponse
}

// answers is what AWS would say to the data sources, for an account and a region that can't exist.
var answers = map[string]any{
	"account_id": "111122223333",
	"partition":  "aws",
	"names":      []string{"xx-test-1a", "xx-test-1b", "xx-test-1c", "xx-test-1d"},
	"json":       "{}",
}

func read(path string) (*standIn, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var from schemas
	if err := json.Unmarshal(text, &from); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	// Of the provider's own settings those that versions.tf sets.
	tags := &tfprotov6.SchemaNestedBlock{
		TypeName: "default_tags",
		Nesting:  tfprotov6.SchemaNestedBlockNestingModeList,
		MaxItems: 1,
		Block: &tfprotov6.SchemaBlock{Attributes: []*tfprotov6.SchemaAttribute{
			{Name: "tags", Type: tftypes.Map{ElementType: tftypes.String}, Optional: true},
		}},
	}
	region := &tfprotov6.SchemaAttribute{Name: "region", Type: tftypes.String, Optional: true}
	answer := &tfprotov6.GetProviderSchemaResponse{Provider: &tfprotov6.Schema{Block: &tfprotov6.SchemaBlock{
		Attributes: []*tfprotov6.SchemaAttribute{region}, BlockTypes: []*tfprotov6.SchemaNestedBlock{tags},
	}}}
	if answer.ResourceSchemas, err = all(from.Resources); err != nil {
		return nil, err
	}
	if answer.DataSourceSchemas, err = all(from.DataSources); err != nil {
		return nil, err
	}
	if answer.EphemeralResourceSchemas, err = all(from.Ephemerals); err != nil {
		return nil, err
	}
	return &standIn{answer: answer}, nil
}

func (s *standIn) GetMetadata(context.Context, *tfprotov6.GetMetadataRequest) (*tfprotov6.GetMetadataResponse, error) {
	out := &tfprotov6.GetMetadataResponse{}
	for name := range s.answer.ResourceSchemas {
		out.Resources = append(out.Resources, tfprotov6.ResourceMetadata{TypeName: name})
	}
	for name := range s.answer.DataSourceSchemas {
		out.DataSources = append(out.DataSources, tfprotov6.DataSourceMetadata{TypeName: name})
	}
	for name := range s.answer.EphemeralResourceSchemas {
		out.EphemeralResources = append(out.EphemeralResources, tfprotov6.EphemeralResourceMetadata{TypeName: name})
	}
	return out, nil
}

func (s *standIn) GetProviderSchema(context.Context, *tfprotov6.GetProviderSchemaRequest) (*tfprotov6.GetProviderSchemaResponse, error) {
	return s.answer, nil
}

func (s *standIn) GetResourceIdentitySchemas(context.Context, *tfprotov6.GetResourceIdentitySchemasRequest) (*tfprotov6.GetResourceIdentitySchemasResponse, error) {
	return &tfprotov6.GetResourceIdentitySchemasResponse{}, nil
}

func (s *standIn) ValidateProviderConfig(_ context.Context, asked *tfprotov6.ValidateProviderConfigRequest) (*tfprotov6.ValidateProviderConfigResponse, error) {
	return &tfprotov6.ValidateProviderConfigResponse{PreparedConfig: asked.Config}, nil
}

func (s *standIn) ValidateResourceConfig(context.Context, *tfprotov6.ValidateResourceConfigRequest) (*tfprotov6.ValidateResourceConfigResponse, error) {
	return &tfprotov6.ValidateResourceConfigResponse{}, nil
}

func (s *standIn) ValidateDataResourceConfig(context.Context, *tfprotov6.ValidateDataResourceConfigRequest) (*tfprotov6.ValidateDataResourceConfigResponse, error) {
	return &tfprotov6.ValidateDataResourceConfigResponse{}, nil
}

func (s *standIn) ValidateEphemeralResourceConfig(context.Context, *tfprotov6.ValidateEphemeralResourceConfigRequest) (*tfprotov6.ValidateEphemeralResourceConfigResponse, error) {
	return &tfprotov6.ValidateEphemeralResourceConfigResponse{}, nil
}

func (s *standIn) ConfigureProvider(context.Context, *tfprotov6.ConfigureProviderRequest) (*tfprotov6.ConfigureProviderResponse, error) {
	return &tfprotov6.ConfigureProviderResponse{}, nil
}

// PlanResourceChange leaves open what only AWS fills in.
func (s *standIn) PlanResourceChange(_ context.Context, asked *tfprotov6.PlanResourceChangeRequest) (*tfprotov6.PlanResourceChangeResponse, error) {
	planned, err := filled(s.answer.ResourceSchemas[asked.TypeName], asked.ProposedNewState, func(_ string, kind tftypes.Type) tftypes.Value {
		return tftypes.NewValue(kind, tftypes.UnknownValue)
	})
	return &tfprotov6.PlanResourceChangeResponse{PlannedState: planned}, err
}

func (s *standIn) ReadDataSource(_ context.Context, asked *tfprotov6.ReadDataSourceRequest) (*tfprotov6.ReadDataSourceResponse, error) {
	state, err := filled(s.answer.DataSourceSchemas[asked.TypeName], asked.Config, answered)
	return &tfprotov6.ReadDataSourceResponse{State: state}, err
}

func (s *standIn) OpenEphemeralResource(_ context.Context, asked *tfprotov6.OpenEphemeralResourceRequest) (*tfprotov6.OpenEphemeralResourceResponse, error) {
	result, err := filled(s.answer.EphemeralResourceSchemas[asked.TypeName], asked.Config, answered)
	return &tfprotov6.OpenEphemeralResourceResponse{Result: result}, err
}

func (s *standIn) CloseEphemeralResource(context.Context, *tfprotov6.CloseEphemeralResourceRequest) (*tfprotov6.CloseEphemeralResourceResponse, error) {
	return &tfprotov6.CloseEphemeralResourceResponse{}, nil
}

// answered is one of the answers, or nothing.
func answered(name string, kind tftypes.Type) tftypes.Value {
	switch answer := answers[name].(type) {
	case string:
		return tftypes.NewValue(kind, answer)
	case []string:
		var all []tftypes.Value
		for _, one := range answer {
			all = append(all, tftypes.NewValue(tftypes.String, one))
		}
		return tftypes.NewValue(kind, all)
	default:
		return tftypes.NewValue(kind, nil)
	}
}

// filled puts something in place of each absent attribute that AWS fills in.
func filled(schema *tfprotov6.Schema, from *tfprotov6.DynamicValue, with func(string, tftypes.Type) tftypes.Value) (*tfprotov6.DynamicValue, error) {
	kind := schema.ValueType()
	value, err := from.Unmarshal(kind)
	if err != nil {
		return nil, err
	}
	if value, err = filledBlock(schema.Block, value, with); err != nil {
		return nil, err
	}
	out, err := tfprotov6.NewDynamicValue(kind, value)
	return &out, err
}

func filledBlock(schema *tfprotov6.SchemaBlock, value tftypes.Value, with func(string, tftypes.Type) tftypes.Value) (tftypes.Value, error) {
	if value.IsNull() || !value.IsKnown() {
		return value, nil
	}
	if !value.Type().Is(tftypes.Object{}) { // a list or a set of such blocks
		var blocks []tftypes.Value
		if err := value.As(&blocks); err != nil {
			return value, err
		}
		for i, block := range blocks {
			var err error
			if blocks[i], err = filledBlock(schema, block, with); err != nil {
				return value, err
			}
		}
		return tftypes.NewValue(value.Type(), blocks), nil
	}
	fields := map[string]tftypes.Value{}
	if err := value.As(&fields); err != nil {
		return value, err
	}
	for _, attribute := range schema.Attributes {
		switch {
		case attribute.WriteOnly:
			fields[attribute.Name] = tftypes.NewValue(attribute.Type, nil)
		case attribute.Computed && fields[attribute.Name].IsNull():
			fields[attribute.Name] = with(attribute.Name, attribute.Type)
		}
	}
	for _, inner := range schema.BlockTypes {
		var err error
		if fields[inner.TypeName], err = filledBlock(inner.Block, fields[inner.TypeName], with); err != nil {
			return value, err
		}
	}
	return tftypes.NewValue(value.Type(), fields), nil
}

func (s *standIn) StopProvider(context.Context, *tfprotov6.StopProviderRequest) (*tfprotov6.StopProviderResponse, error) {
	return &tfprotov6.StopProviderResponse{}, nil
}

func main() {
	provider, err := read(os.Getenv("SIGHTLINE_AWS_SCHEMA"))
	if err != nil {
		log.Fatal(err)
	}
	if err := tf6server.Serve("registry.opentofu.org/hashicorp/aws", func() tfprotov6.ProviderServer { return provider }); err != nil {
		log.Fatal(err)
	}
}
