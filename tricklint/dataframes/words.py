"""Names of pandas that decide how a row is used. Taken from pandas 1.0 to 3.1, together: a name that was a Series
attribute in any of them is never taken for a column."""

from __future__ import annotations

# `row.name`, `row.size`, `row.mean()`: attributes of a Series, so no column even where a column has that name.
SERIES_NAMES = frozenset(
    """
    T abs add add_prefix add_suffix agg aggregate align all any append apply argmax argmin argsort array as_matrix
    asfreq asof astype at at_time attrs autocorr axes backfill between between_time bfill bool case_when cat clip
    combine combine_first compare convert_dtypes copy corr count cov cummax cummin cumprod cumsum describe diff div
    divide divmod dot drop drop_duplicates droplevel dropna dt dtype dtypes duplicated empty eq equals ewm expanding
    explode factorize ffill fillna filter first first_valid_index flags floordiv from_arrow ge get get_value groupby
    gt hasnans head hist iat idxmax idxmin iloc imag index infer_objects info interpolate is_monotonic
    is_monotonic_decreasing is_monotonic_increasing is_unique isin isna isnull item items iteritems ix keys kurt
    kurtosis last last_valid_index le list loc lt mad map mask max mean median memory_usage min mod mode mul
    multiply name nbytes ndim ne nlargest notna notnull nsmallest nunique pad pct_change pipe plot pop pow prod
    product quantile radd rank ravel rdiv rdivmod real reindex reindex_like rename rename_axis reorder_levels repeat
    replace resample reset_index rfloordiv rmod rmul rolling round rpow rsub rtruediv sample searchsorted sem
    set_axis set_flags set_value shape shift size skew slice_shift sort_index sort_values sparse squeeze std str
    struct sub subtract sum swapaxes swaplevel tail take to_clipboard to_csv to_dense to_dict to_excel to_frame
    to_hdf to_json to_latex to_list to_markdown to_numpy to_period to_pickle to_sql to_string to_timestamp to_xarray
    tolist transform transpose truediv truncate tshift tz_convert tz_localize unique unstack update value_counts
    values var view where xs
    """.split()
)

# Methods of a string that no number, NumPy scalar, date or Series has: a value whose method this is must be text, or
# something else that only a row of objects can hold.
TEXT_METHODS = frozenset(
    """
    capitalize casefold center encode endswith expandtabs find format_map isalnum isalpha isascii isdecimal isdigit
    isidentifier islower isnumeric isprintable isspace istitle isupper join ljust lower lstrip maketrans partition
    removeprefix removesuffix rfind rindex rjust rpartition rsplit rstrip split splitlines startswith strip swapcase
    title translate upper zfill
    """.split()
)

# Calls that raise TypeError or AttributeError for a number and for a Series in any of their positional arguments.
TEXT_CALLS = frozenset(
    """
    os.path.join os.path.basename os.path.dirname os.path.splitext os.path.split os.path.abspath os.path.normpath
    os.listdir pathlib.Path pathlib.PurePath pathlib.PosixPath json.loads re.match re.search re.fullmatch re.findall
    re.finditer re.compile re.escape PIL.Image.open urllib.parse.urlparse
    """.split()
)

# Functions that hand their argument's items on, one by one and in order.
PASSING_CALLS = frozenset("list tuple iter track progress_bar master_bar alive_it prange progressbar".split())

# Methods that make a frame of the same columns, in the same order and with the same dtypes.
SAME_COLUMNS = frozenset(
    "head tail sample sort_values sort_index dropna drop_duplicates query copy nlargest nsmallest truncate".split()
)

# What may be asked of a frame without changing it, or handing it to somebody who might.
READING_METHODS = SAME_COLUMNS | frozenset(
    """
    iterrows itertuples items keys groupby apply describe info isna isnull notna notnull count sum mean std min max
    median nunique value_counts to_csv to_excel to_dict to_json to_numpy merge join reset_index set_index filter
    astype fillna drop rename corr agg aggregate pivot pivot_table melt equals any all abs round to_string
    """.split()
)

# Keyword arguments of pandas' readers that leave the columns plain NumPy (or text) and their names unique.
PLAIN_READER_ARGUMENTS = frozenset(
    """
    filepath_or_buffer sep delimiter header index_col usecols skiprows skipfooter nrows na_values keep_default_na
    encoding encoding_errors low_memory engine quotechar quoting comment compression on_bad_lines error_bad_lines
    skipinitialspace parse_dates thousands decimal sheet_name names
    """.split()
)
READERS = frozenset(f"pandas.read_{kind}" for kind in "csv table fwf".split())

# Calls that make a frame or a Series.
FRAME_MAKERS = READERS | frozenset(
    """
    pandas.DataFrame pandas.Series pandas.concat pandas.merge pandas.read_excel pandas.read_json pandas.read_parquet
    pandas.read_pickle pandas.read_sql pandas.read_hdf pandas.read_feather pandas.read_html pandas.json_normalize
    pandas.DataFrame.from_dict pandas.DataFrame.from_records modin.pandas.DataFrame modin.pandas.read_csv
    """.split()
)
# Methods that give back a frame of the same rows: growth may be written below them.
FRAME_METHODS = SAME_COLUMNS | frozenset("reset_index drop fillna rename astype set_index".split())

# Libraries whose frames have `iterrows()` and `concat` as pandas' have.
FRAME_LIBRARIES = frozenset(("pandas", "modin", "geopandas", "cudf", "dask", "pyspark"))
