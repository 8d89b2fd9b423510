-- What a dataset's source offered, one version for each time that it changed.
create table shape (
    dataset text collate "C" not null, version bigint not null, columns text not null, since bigint not null,
    last bigint not null, used boolean not null default false, approved bigint, why text,
    primary key (dataset, version));
