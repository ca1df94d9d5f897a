/** How Go's gob defines types on the way: as a value of its own type `wireType`. */
import { GobError } from './gob-bytes.ts'
import { type Gob, type GobShape, type GobType, int, pointer, slice, struct, text } from './gob-types.ts'

const common = struct(18, 'CommonType', { Name: text, Id: int })
const opaque = struct(24, 'gobEncoderType', { CommonType: common })

/** Go's bootstrap types (type.go): both sides know them by these numbers. */
export const wireType = struct(16, 'wireType', {
  ArrayT: pointer(struct(17, 'arrayType', { CommonType: common, Elem: int, Len: int })),
  SliceT: pointer(struct(19, 'sliceType', { CommonType: common, Elem: int })),
  StructT: pointer(
    struct(20, 'structType', {
      CommonType: common,
      Field: slice(22, '[]*fieldType', struct(21, 'fieldType', { Name: text, Id: int })),
    }),
  ),
  MapT: pointer(struct(23, 'mapType', { CommonType: common, Key: int, Elem: int })),
  GobEncoderT: pointer(opaque),
  BinaryMarshalerT: pointer(opaque),
  TextMarshalerT: pointer(opaque),
})

/** What a definition says. @throws GobError where it defines nothing, or several things */
export const shapeOf = (definition: Gob<typeof wireType>): GobShape => {
  const { ArrayT, SliceT, StructT, MapT, GobEncoderT, BinaryMarshalerT, TextMarshalerT } = definition
  const shapes: GobShape[] = []
  if (ArrayT)
    shapes.push({ kind: 'array', name: ArrayT.CommonType.Name, element: ArrayT.Elem, length: ArrayT.Len })
  if (SliceT) shapes.push({ kind: 'slice', name: SliceT.CommonType.Name, element: SliceT.Elem })
  if (MapT) shapes.push({ kind: 'map', name: MapT.CommonType.Name, key: MapT.Key, element: MapT.Elem })
  if (StructT)
    shapes.push({
      kind: 'struct',
      name: StructT.CommonType.Name,
      fields: StructT.Field.map(({ Name, Id }) => ({ name: Name, type: Id })),
    })
  // A type that encodes itself is a slice of bytes to all others.
  if (GobEncoderT || BinaryMarshalerT || TextMarshalerT) shapes.push({ kind: 'bytes' })
  const [shape] = shapes
  if (!shape || shapes.length > 1) throw new GobError('a definition that defines no type, or more than one')
  return shape
}

/** The definition of a type of ours. */
export const definitionOf = ({ id, shape }: GobType<unknown>): Gob<typeof wireType> => {
  switch (shape.kind) {
    case 'slice': {
      const SliceT = { CommonType: { Name: shape.name, Id: id }, Elem: shape.element }
      return { ...wireType.zero, SliceT }
    }
    case 'struct': {
      const Field = shape.fields.map(({ name, type }) => ({ Name: name, Id: type }))
      return { ...wireType.zero, StructT: { CommonType: { Name: shape.name, Id: id }, Field } }
    }
    default:
      throw new RangeError(`no definition for a type of kind ${shape.kind}`)
  }
}

/** Below are types that both sides know. */
export const FIRST_DEFINED = 64
