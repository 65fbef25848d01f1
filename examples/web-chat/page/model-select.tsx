export interface Model {
  readonly id: string;
  readonly displayName: string;
}

export function ModelSelect(props: {
  label: string;
  models: readonly Model[];
  value: string | null | undefined;
  /** Label of the choice of no model. */
  none?: string;
  onChange: (id: string) => void;
}) {
  return (
    <label class="model">
      {props.label}
      <select value={props.value ?? ""} onChange={(event) => props.onChange(event.currentTarget.value)}>
        {props.none !== undefined && <option value="">{props.none}</option>}
        {props.models.map(({ id, displayName }) => (
          <option key={id} value={id}>
            {displayName}
          </option>
        ))}
      </select>
    </label>
  );
}
