-- A product that is sold by the piece.

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('product', 'Product', 'Products', 'package', 'PDT', false, 86, '{"sku": {"label": "SKU"}}',
   '{"columns": ["code", "name", "sku", "dl__product_category", "unit_price_amt", "unit"]}');

create table app.product (like app.entity_columns including defaults, primary key (id),
  sku text, unit_price_amt numeric(17, 4), unit text, dl__product_category text);

select app.add_datalabel('product_category', array['Hardware', 'Software', 'Licence', 'Material']);

select app.register_entity('product');
