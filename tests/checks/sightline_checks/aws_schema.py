"""The schema of the AWS provider for the types that a folder of Terraform files uses.

It is read out of bindings to the provider, which were generated from that schema and are a package like any other: they name
each argument and block, its type and whether it must be given, and each attribute that AWS fills in. What they do not say is
which optional arguments AWS fills in when they are left out, and what the provider checks beyond types.
"""

import io
import json
import pathlib
import re
import tarfile
import zipfile

from .report import die

TYPES = {"string": "string", "number": "number", "boolean": "bool", "any": "dynamic"}
GETTERS = {
    "getStringAttribute": "string",
    "getNumberAttribute": "number",
    "getBooleanAttribute": "bool",
    "getListAttribute": ["list", "string"],
    "getNumberListAttribute": ["list", "number"],
    "getStringMapAttribute": ["map", "string"],
    "getBooleanMapAttribute": ["map", "bool"],
    "getNumberMapAttribute": ["map", "number"],
}
# What is at the head of a binding's file, and where that kind stands in a provider's schema.
KINDS = {
    "resource": ("aws-", "resource_schemas"),
    "data": ("data-aws-", "data_source_schemas"),
    "ephemeral": ("ephemeral-aws-", "ephemeral_resource_schemas"),
}


def used(folder):
    """(kind, type) of every block in the folder's files."""
    text = "\n".join(path.read_text() for path in sorted(pathlib.Path(folder).glob("*.tf")))
    return sorted(set(re.findall(r'^(resource|data|ephemeral) "(aws_\w+)"', text, re.M)))


def bindings(wheel):
    """Every file of the bindings, by path."""
    with zipfile.ZipFile(wheel) as outer:
        inner = next(name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(inner))) as files:
            return {file.name: files.extractfile(file).read().decode() for file in files if file.isfile()}


class Binding:
    """One type's pair of files: code with names and types, declarations with what must be given."""

    def __init__(self, code, declarations):
        heads = list(re.finditer(r"^ *class (\w+) extends cdktn\.(\w+) \{$", code, re.M))
        ends = [head.start() for head in heads[1:]] + [len(code)]
        self.classes = {head[1]: code[head.start() : end] for head, end in zip(heads, ends, strict=True)}
        self.top = next(head[1] for head in heads if head[2] in ("TerraformResource", "TerraformDataSource", "TerraformEphemeralResource"))
        self.mappers = {
            name: body for _, name, body in re.findall(r"^( *)function (\w+)ToHclTerraform\(struct\) \{\n(.*?)^\1\}$", code, re.M | re.S)
        }
        self.demanded = {}
        for _, interface, body in re.findall(r"^( *)(?:export )?interface (\w+)[^\n]*\{\n(.*?)^\1\}$", declarations, re.M | re.S):
            arguments = re.findall(r"#(\w+)\}\n(?:(?!\*/).)*\*/\s+readonly \w+(\??):", body, re.S)
            self.demanded[interface] = {name for name, optional in arguments if not optional}

    def schema(self):
        body = re.search(r"^( *)synthesizeHclAttributes\(\) \{\n(.*?)^\1\}$", self.classes[self.top], re.M | re.S)
        return self.block(self.arguments(body[2] if body else ""), f"{self.top}Config", self.top)

    @staticmethod
    def arguments(text):
        return re.findall(
            r'^ *"?(\w+)"?: \{\n *value: (.*?),\n *isBlock: (true|false),\n *type: "(\w+)",\n *storageClassType: "([\w.]+)",\n',
            text,
            re.M | re.S,
        )

    def block(self, arguments, interface, reader):
        attributes, blocks = {}, {}
        demanded = self.demanded.get(interface, set())
        for name, value, is_block, shape, storage in arguments:
            if is_block == "true":
                blocks[name] = self.nested(name, value, shape, name in demanded)
            else:
                attributes[name] = {"type": self.type(shape, storage), "required" if name in demanded else "optional": True}
                if name == "id" and name not in demanded:
                    attributes[name]["computed"] = True
                if name.endswith("_wo"):
                    attributes[name]["write_only"] = True
        for name, type in self.filled_in(self.classes.get(reader, "")).items():
            attributes.setdefault(name, {"type": type, "computed": True})
        return {"attributes": attributes, "block_types": blocks}

    def nested(self, name, value, shape, demanded):
        mapper = re.search(r"(\w+)ToHclTerraform", value)[1]
        interface = mapper[len(self.top) :].removeprefix("Mapper")
        block = self.block(self.arguments(self.mappers[mapper]), interface, f"{interface}OutputReference")
        if shape == "struct":
            return {"nesting_mode": "single", "block": block}
        nested = {"nesting_mode": shape, "block": block}
        if demanded:
            nested["min_items"] = 1
        if "listMapperHcl" not in value:
            nested["max_items"] = 1
        return nested

    @staticmethod
    def type(shape, storage):
        if shape == "simple":
            return TYPES[storage]
        return [shape, TYPES[re.sub(r"(List|Map)$", "", storage)]]

    def filled_in(self, text):
        """Attributes that only AWS sets, by name, with their types."""
        found = {}
        for name, rest in re.findall(r"// (\w+) - computed: true, optional: false, required: false\n(?=(.*\n.*\n))", text):
            if object_list := re.search(r"new (?:\w+\.)?(\w+?)(List|Map|OutputReference)\(this, \"\w+\"(?:, (true|false))?\)", rest):
                of = ["object", self.filled_in(self.classes.get(f"{object_list[1]}OutputReference", ""))]
                wrap = {"List": "set" if object_list[3] == "true" else "list", "Map": "map"}.get(object_list[2])
                found[name] = [wrap, of] if wrap else of
            elif getter := re.search(r"this\.(get\w+Attribute)\(", rest):
                type = GETTERS[getter[1]]
                found[name] = ["set", type[1]] if "Fn.tolist" in rest else type
            else:
                found[name] = "dynamic"
        return found


def schema(wheel, folder):
    """The schema, as JSON."""
    files = bindings(wheel)
    found = {"resource_schemas": {}, "data_source_schemas": {}, "ephemeral_resource_schemas": {}}
    for kind, type in used(folder):
        head, place = KINDS[kind]
        path = next(
            (
                path
                for path, text in files.items()
                if path.endswith(".js") and path.rsplit("/", 1)[1].startswith(head) and f"terraformResourceType: '{type}'" in text
            ),
            None,
        )
        if path is None:
            die(f"the AWS provider has no {kind} {type}")
        found[place][type] = Binding(files[path], files[path.removesuffix(".js") + ".d.ts"]).schema()
    return json.dumps(found, indent=1, sort_keys=True)
